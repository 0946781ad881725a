// A file of random bytes to measure reads on. It has no name, so nothing is left behind however the process ends.
#pragma once

#include <cstdint>
#include <string>

#include "flashneuron/status.h"

namespace flashneuron {

class ScratchFile {
 public:
  // Writes `bytes` incompressible bytes to storage in `folder`, out of the page cache. Errors: kNotFound (no such
  // folder), kIo (not enough space, with the figures; cannot be written).
  static Result<ScratchFile> create(const std::string& folder, uint64_t bytes);
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&&) = delete;
  ~ScratchFile();

  // By which this process can open it while this object lives.
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  explicit ScratchFile(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace flashneuron
