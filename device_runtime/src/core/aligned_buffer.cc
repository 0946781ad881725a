#include "core/aligned_buffer.h"

#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/align.h"

namespace flashneuron {

Result<AlignedBuffer> AlignedBuffer::create(size_t bytes) {
  AlignedBuffer buffer;
  if (bytes == 0) return buffer;
  void* data = nullptr;
  // PTRDIFF_MAX bounds every object; below it the rounding cannot wrap.
  const bool fits = bytes <= static_cast<size_t>(PTRDIFF_MAX) - kAlignment;
  if (!fits || posix_memalign(&data, kAlignment, round_up(bytes, kAlignment)) != 0) {
    return Status(StatusCode::kOutOfMemory, "no memory for a buffer of " + std::to_string(bytes) + " bytes");
  }
  buffer.data_.reset(static_cast<std::byte*>(data));
  buffer.bytes_ = round_up(bytes, kAlignment);
  return buffer;
}

void AlignedBuffer::Free::operator()(std::byte* data) const { std::free(data); }

}  // namespace flashneuron
