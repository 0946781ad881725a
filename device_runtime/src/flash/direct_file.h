// A file open for O_DIRECT reads, or for buffered ones with the reason why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "flashneuron/status.h"

namespace flashneuron {

class DirectFile {
 public:
  // Opens `path` for direct reads if `direct`, else buffered. Falls back to buffered reads where the file system
  // refuses O_DIRECT at open or at the first read, and looks whether it only pretends. Errors: kNotFound, kIo.
  static Result<DirectFile> open(const std::string& path, bool direct);
  DirectFile(DirectFile&& other) noexcept;
  DirectFile& operator=(DirectFile&&) = delete;
  ~DirectFile();

  int descriptor() const { return descriptor_; }
  uint64_t bytes() const { return bytes_; }
  // What offsets, lengths and destinations must be multiples of: 4096 to 16384, a power of two.
  uint32_t block_bytes() const { return block_bytes_; }
  // Why reads go through the page cache; nullopt when they do not.
  const std::optional<std::string>& buffered_reason() const { return buffered_reason_; }

 private:
  DirectFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::optional<std::string> find_buffered_reason();
  Status reopen_buffered(std::string reason);

  std::string path_;
  int descriptor_ = -1;
  uint64_t bytes_ = 0;
  uint32_t block_bytes_ = 4096;
  std::optional<std::string> buffered_reason_;
};

}  // namespace flashneuron
