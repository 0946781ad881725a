// How it is found out whether reads of a file are direct, and in which blocks.
//
// Block. Where the kernel says what direct reads of a file must be aligned to (statx, STATX_DIOALIGN, Linux 6.1), that
// and at least 4096. Where it says nothing, a page and at least 4096: phones' storage has logical blocks of 4096, and
// f2fs with pages of 16 KiB has blocks of a page and serves smaller direct reads silently from the page cache.
// st_blksize is not asked: it is a size at which reads are efficient (up to megabytes on some file systems), not one
// they need, and a neuron's record of a few KiB would be read many times over. A file that needs more than 16 KiB
// (AlignedBuffer's alignment) is read buffered.
//
// Refusal. O_DIRECT is refused at open (EINVAL) or at the first read (EINVAL). Statx's alignment 0 (for instance
// encryption without hardware) is believed only where the next test cannot be made: qemu 7.2's user mode answers 0 for
// every file.
//
// Pretence. FUSE, tmpfs and some encrypted files accept O_DIRECT and read through the page cache. The kernel counts the
// bytes that a thread's reads fetch from storage (read_bytes in /proc/thread-self/io); a buffered read of a block that
// has just been read costs none, a direct one costs the block again. So one block is read twice.
#include "flash/direct_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <system_error>
#include <utility>

#include "core/aligned_buffer.h"
#include "telemetry/storage_reads.h"

namespace flashneuron {
namespace {

constexpr uint32_t kLeastBlock = 4096;
constexpr uint32_t kMostBlock = AlignedBuffer::kAlignment;

// What statx says; nullopt where it does not.
std::optional<uint32_t> stated_alignment(int descriptor) {
#if defined(STATX_DIOALIGN) && (!defined(__ANDROID_API__) || __ANDROID_API__ >= 30)
  struct statx facts = {};
  if (statx(descriptor, "", AT_EMPTY_PATH, STATX_DIOALIGN, &facts) == 0 && (facts.stx_mask & STATX_DIOALIGN) != 0) {
    return std::max(facts.stx_dio_offset_align, facts.stx_dio_mem_align);
  }
#else
  (void)descriptor;
#endif
  return std::nullopt;
}

ssize_t read_block(int descriptor, AlignedBuffer& buffer) {
  for (;;) {
    const ssize_t count = ::pread(descriptor, buffer.data(), buffer.size(), 0);
    if (count >= 0 || errno != EINTR) return count;
  }
}

Status io_error(const std::string& path, const std::string& what, int error) {
  return {error == ENOENT || error == ENOTDIR ? StatusCode::kNotFound : StatusCode::kIo,
          path + ": " + what + ": " + std::generic_category().message(error)};
}

}  // namespace

Result<DirectFile> DirectFile::open(const std::string& path, bool direct) {
  DirectFile file(path, ::open(path.c_str(), O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0)));
  if (file.descriptor_ < 0 && direct && errno == EINVAL) {
    FN_RETURN_IF_ERROR(file.reopen_buffered("the file system refuses O_DIRECT"));
  }
  if (file.descriptor_ < 0) return io_error(path, "cannot be opened", errno);
  struct stat facts = {};
  if (fstat(file.descriptor_, &facts) != 0) return io_error(path, "cannot be examined", errno);
  if (!S_ISREG(facts.st_mode)) return Status(StatusCode::kIo, path + ": is not a regular file");
  file.bytes_ = static_cast<uint64_t>(facts.st_size);
  if (!direct) {
    FN_RETURN_IF_ERROR(file.reopen_buffered("buffered reads were asked for"));
  } else if (!file.buffered_reason_) {
    if (std::optional<std::string> reason = file.find_buffered_reason()) {
      FN_RETURN_IF_ERROR(file.reopen_buffered(std::move(*reason)));
    }
  }
  return file;
}

std::optional<std::string> DirectFile::find_buffered_reason() {
  const std::optional<uint32_t> stated = stated_alignment(descriptor_);
  std::optional<std::string> doubt;
  if (stated && *stated == 0) doubt = "the file system cannot read this file with O_DIRECT (statx)";
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t block = std::bit_ceil(stated && !doubt ? uint64_t{*stated} : page);
  if (block > kMostBlock) return "O_DIRECT needs blocks of more than 16 KiB here";
  block_bytes_ = std::max(static_cast<uint32_t>(block), kLeastBlock);

  Result<AlignedBuffer> buffer = AlignedBuffer::create(block_bytes_);
  if (!buffer.ok()) return buffer.status().message();
  if (read_block(descriptor_, buffer.value()) < 0) {
    // Only EINVAL tells of O_DIRECT; a broken block is met again, and reported, by whoever reads it.
    return errno == EINVAL ? std::optional<std::string>("the file system refuses reads with O_DIRECT") : std::nullopt;
  }
  const std::optional<uint64_t> before = thread_storage_bytes();
  if (bytes_ == 0 || !before || read_block(descriptor_, buffer.value()) < 0) return doubt;
  if (thread_storage_bytes() > before) return std::nullopt;
  return "the file system accepts O_DIRECT but reads through a cache";
}

Status DirectFile::reopen_buffered(std::string reason) {
  const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return io_error(path_, "cannot be opened", errno);
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = descriptor;
  buffered_reason_ = std::move(reason);
  // Reads are scattered: reading ahead would fetch bytes that nobody counts.
  posix_fadvise(descriptor_, 0, 0, POSIX_FADV_RANDOM);
  return {};
}

DirectFile::DirectFile(DirectFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      bytes_(other.bytes_),
      block_bytes_(other.block_bytes_),
      buffered_reason_(std::move(other.buffered_reason_)) {}

DirectFile::~DirectFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace flashneuron
