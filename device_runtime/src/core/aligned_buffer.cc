#include "core/aligned_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

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

Result<AlignedBuffer> AlignedBuffer::reserve(size_t bytes) {
  if (bytes == 0) return AlignedBuffer();
  const size_t alignment = bytes >= kLargeFrom ? kLargePage : kAlignment;
  const bool fits = bytes <= static_cast<size_t>(PTRDIFF_MAX) - kAlignment - alignment;
  const size_t mapped = fits ? round_up(bytes, kAlignment) + alignment : 0;
  // Without a reservation of memory: what is never used must not count where the system gives no more than it has.
  constexpr int kKind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const start = fits ? mmap(nullptr, mapped, PROT_READ | PROT_WRITE, kKind, -1, 0) : MAP_FAILED;
  if (start == MAP_FAILED) {
    return Status(StatusCode::kOutOfMemory, "no addresses for a buffer of " + std::to_string(bytes) + " bytes");
  }
  std::byte* const first = static_cast<std::byte*>(start);
  const size_t skipped = round_up(reinterpret_cast<uintptr_t>(first), alignment) - reinterpret_cast<uintptr_t>(first);
  AlignedBuffer buffer =
      adopt(first + skipped, round_up(bytes, kAlignment), [start, mapped](std::byte*) { (void)munmap(start, mapped); });
  buffer.use(0);
  return buffer;
}

void AlignedBuffer::use(size_t bytes) {
  // A large page across the end would take memory beyond it, so the last ones are small.
  const size_t large = bytes >= kLargeFrom ? round_down(bytes, kLargePage) : 0;
  if (large > 0) (void)madvise(data_.get(), large, MADV_HUGEPAGE);
  if (large < bytes_) (void)madvise(data_.get() + large, bytes_ - large, MADV_NOHUGEPAGE);
  const size_t kept = round_up(bytes, static_cast<size_t>(sysconf(_SC_PAGESIZE)));
  if (kept < bytes_) (void)madvise(data_.get() + kept, bytes_ - kept, MADV_DONTNEED);
}

AlignedBuffer AlignedBuffer::adopt(std::byte* data, size_t bytes, std::function<void(std::byte*)> release) {
  AlignedBuffer buffer;
  buffer.data_ = {data, Free{std::move(release)}};
  buffer.bytes_ = bytes;
  return buffer;
}

void AlignedBuffer::Free::operator()(std::byte* data) const { release ? release(data) : std::free(data); }

}  // namespace flashneuron
