// Owned memory whose start and size suit direct I/O and vector loads.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "flashneuron/status.h"

namespace flashneuron {

class AlignedBuffer {
 public:
  // 16 KiB covers the pages of every Android device and the blocks of its storage.
  static constexpr size_t kAlignment = 16384;

  AlignedBuffer() = default;
  // Where the kernel gives large pages: a whole number of these, from the start of one on, is large pages alone.
  static constexpr size_t kLargePage = size_t{2} << 20;
  enum class Pages { kAny, kLarge };

  // Untouched (not zeroed) memory of `bytes` rounded up to kAlignment. kLarge asks the kernel for large pages, a
  // direct read into which is one piece of memory for the storage where small ones are many. A buffer of many megabytes
  // asks for them anyhow. Error: kOutOfMemory.
  static Result<AlignedBuffer> create(size_t bytes, Pages pages = Pages::kAny);
  // Addresses for `bytes`, rounded up likewise: memory comes when use() and then a write ask for it. Error:
  // kOutOfMemory.
  static Result<AlignedBuffer> reserve(size_t bytes);
  // `bytes` at `data`, aligned to a page at least, given to `release` in the end.
  static AlignedBuffer adopt(std::byte* data, size_t bytes, std::function<void(std::byte*)> release);

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  size_t size() const { return bytes_; }
  std::span<std::byte> span() { return {data_.get(), bytes_}; }
  // Of what reserve() gave: the first `bytes` bytes are in use from now on, in large pages where a whole one fits into
  // many megabytes; the pages after them go back to the system, and are zero if they are ever used again.
  void use(size_t bytes);

 private:
  struct Free {
    void operator()(std::byte* data) const;
    std::function<void(std::byte*)> release;  // empty: std::free
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t bytes_ = 0;
};

}  // namespace flashneuron
