#include "flash/scratch_file.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

namespace flashneuron {
namespace {

constexpr uint64_t kSpareBytes = uint64_t{64} << 20;  // left to everybody else
constexpr uint64_t kPieceBytes = uint64_t{4} << 20;
constexpr uint64_t kMiB = 1 << 20;

Status failure(const std::string& folder, const std::string& what) {
  const int error = errno;
  return {error == ENOENT || error == ENOTDIR ? StatusCode::kNotFound : StatusCode::kIo,
          folder + ": " + what + ": " + std::generic_category().message(error)};
}

// Writes all of it, then makes storage hold it and the page cache forget it.
bool write_piece(int descriptor, const std::vector<uint64_t>& words, uint64_t bytes, uint64_t offset) {
  const char* data = reinterpret_cast<const char*>(words.data());
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t count = ::pwrite(descriptor, data + done, bytes - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) done += static_cast<uint64_t>(count);
  }
  return ::fdatasync(descriptor) == 0 &&
         ::posix_fadvise(descriptor, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_DONTNEED) == 0;
}

}  // namespace

Result<ScratchFile> ScratchFile::create(const std::string& folder, uint64_t bytes) {
  struct statvfs space = {};
  if (::statvfs(folder.c_str(), &space) != 0) return failure(folder, "cannot be examined");
  const uint64_t free_bytes = uint64_t{space.f_bavail} * space.f_frsize;
  if (free_bytes < bytes + kSpareBytes) {
    return Status(StatusCode::kIo, folder + " has " + std::to_string(free_bytes / kMiB) +
                                       " MiB free, the probe needs " + std::to_string((bytes + kSpareBytes) / kMiB) +
                                       "; give a smaller size");
  }
  std::string name = folder + "/.flash-probe-XXXXXX";
  ScratchFile file(::mkostemp(name.data(), O_CLOEXEC));
  if (file.descriptor_ < 0) return failure(folder, "a scratch file cannot be made");
  if (::unlink(name.c_str()) != 0) return failure(folder, "a scratch file cannot be removed");
  std::mt19937_64 random(bytes);
  std::vector<uint64_t> words(kPieceBytes / sizeof(uint64_t));
  for (uint64_t offset = 0; offset < bytes; offset += kPieceBytes) {
    for (uint64_t& word : words) word = random();
    if (!write_piece(file.descriptor_, words, std::min(kPieceBytes, bytes - offset), offset)) {
      return failure(folder, "the scratch file cannot be written");
    }
  }
  return file;
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

ScratchFile::~ScratchFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace flashneuron
