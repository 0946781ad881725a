#include "core/aligned_buffer.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include "core/align.h"

namespace flashneuron {
namespace {

// Rows at random places of a large buffer cost a page walk each with small pages; from this size on, the kernel is
// asked for large ones. It may refuse, and gives what is left over at the end in small ones.
constexpr size_t kLargeFrom = 8 * AlignedBuffer::kLargePage;

}  // namespace

Result<AlignedBuffer> AlignedBuffer::create(size_t bytes, Pages pages) {
  AlignedBuffer buffer;
  if (bytes == 0) return buffer;
  void* data = nullptr;
  // PTRDIFF_MAX bounds every object; below it the rounding cannot wrap.
  const bool fits = bytes <= static_cast<size_t>(PTRDIFF_MAX) - kAlignment;
  const size_t alignment = pages == Pages::kLarge || bytes >= kLargeFrom ? kLargePage : kAlignment;
  if (!fits || posix_memalign(&data, alignment, round_up(bytes, kAlignment)) != 0) {
    return Status(StatusCode::kOutOfMemory, "no memory for a buffer of " + std::to_string(bytes) + " bytes");
  }
  if (alignment == kLargePage) (void)madvise(data, round_up(bytes, kAlignment), MADV_HUGEPAGE);
  buffer.data_.reset(static_cast<std::byte*>(data));
  buffer.bytes_ = round_up(bytes, kAlignment);
  return buffer;
}

AlignedBuffer AlignedBuffer::adopt(std::byte* data, size_t bytes, std::function<void(std::byte*)> release) {
  AlignedBuffer buffer;
  buffer.data_ = {data, Free{std::move(release)}};
  buffer.bytes_ = bytes;
  return buffer;
}

void AlignedBuffer::Free::operator()(std::byte* data) const { release ? release(data) : std::free(data); }

}  // namespace flashneuron
