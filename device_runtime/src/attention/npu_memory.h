// Memory that an NPU reads in place, so that a KV cache of many megabytes is not copied to it at every step.
#pragma once

#include <memory>
#include <optional>

#include "core/memory_source.h"

namespace flashneuron {

// How a backend gives such memory out.
struct NpuAllocator {
  void* (*allocate)(size_t bytes, size_t alignment);  // null: there is none
  void (*free)(void* memory);
  void (*add_tensor)(void* tensor, void* memory);  // a tensor that an NPU is given may begin here, inside `memory`
};

// The backend's, on systems where it has one.
std::optional<NpuAllocator> npu_allocator();

// A block that is given back waits for the next caller who wants its size: the backend remembers where tensors lay for
// as long as programs are loaded, and would take new memory at an old address for the old one. All blocks go with the
// last of this object and of the buffers. Not thread-safe.
class NpuMemory final : public MemorySource {
 public:
  // Null if the device gives no such memory.
  static std::unique_ptr<NpuMemory> create(const NpuAllocator& allocator);
  Result<AlignedBuffer> allocate(size_t bytes, std::span<const size_t> tensors) override;

 private:
  class Blocks;
  explicit NpuMemory(std::shared_ptr<Blocks> blocks);
  const std::shared_ptr<Blocks> blocks_;
};

}  // namespace flashneuron
