// Where memory comes from that a device beside the CPU reads in place.
#pragma once

#include <cstddef>
#include <span>

#include "core/aligned_buffer.h"
#include "flashneuron/status.h"

namespace flashneuron {

class MemorySource {
 public:
  virtual ~MemorySource() = default;
  // Untouched memory of at least `bytes`, in which tensors begin at the offsets `tensors`. Error: kOutOfMemory.
  virtual Result<AlignedBuffer> allocate(size_t bytes, std::span<const size_t> tensors) = 0;
};

}  // namespace flashneuron
