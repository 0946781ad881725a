// Whole files and their beginnings, read through the page cache: for small files and headers, not for weights on flash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "flashneuron/status.h"

namespace flashneuron {

// A file open for reading; closed with its owner. Its pages leave the page cache then: what was read is in DRAM once.
class InputFile {
 public:
  // A regular file. Errors: kNotFound, kIo.
  static Result<InputFile> open(const std::string& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile();

  uint64_t bytes() const { return bytes_; }
  int descriptor() const { return descriptor_; }
  // Fills `destination` from `offset` on. Error: kIo, also where the file ends before.
  Status read(uint64_t offset, std::span<std::byte> destination) const;

 private:
  InputFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

  std::string path_;
  int descriptor_ = -1;
  uint64_t bytes_ = 0;
};

// Drops a file's pages from the page cache, where that is possible.
void drop_pages(const std::string& path);

// The first `at_most` bytes of a file, or all where it is shorter; `file_bytes` is set to its size.
Result<std::vector<std::byte>> read_head(const std::string& path, uint64_t at_most, uint64_t& file_bytes);

}  // namespace flashneuron
