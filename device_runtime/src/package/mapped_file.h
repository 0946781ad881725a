// A whole file as read-only memory, for a library that takes one: nothing is read before it is touched, and what was
// touched can be given back.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "flashneuron/status.h"
#include "package/file_io.h"

namespace flashneuron {

class MappedFile {
 public:
  // A regular file that is not empty. Errors: kNotFound, kIo.
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, static_cast<size_t>(file_.bytes())}; }
  // Takes its pages out of memory. They come back from the file when they are touched again.
  void drop_pages() const;

 private:
  MappedFile(InputFile file, std::byte* data) : file_(std::move(file)), data_(data) {}

  const InputFile file_;
  std::byte* const data_;
};

}  // namespace flashneuron
