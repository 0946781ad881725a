#include "package/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace flashneuron {
namespace {

Status io_error(const std::string& path, const std::string& what, int error) {
  return {error == ENOENT || error == ENOTDIR ? StatusCode::kNotFound : StatusCode::kIo,
          path + ": " + what + ": " + std::generic_category().message(error)};
}

}  // namespace

Result<InputFile> InputFile::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return io_error(path, "cannot be opened", errno);
  InputFile file(path, descriptor);
  struct stat facts = {};
  if (fstat(descriptor, &facts) != 0) return io_error(path, "cannot be examined", errno);
  if (!S_ISREG(facts.st_mode)) return Status(StatusCode::kIo, path + ": is not a regular file");
  file.bytes_ = static_cast<uint64_t>(facts.st_size);
  return file;
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), bytes_(other.bytes_) {}

InputFile::~InputFile() {
  if (descriptor_ < 0) return;
  (void)posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED);
  ::close(descriptor_);
}

Status InputFile::read(uint64_t offset, std::span<std::byte> destination) const {
  while (!destination.empty()) {
    const ssize_t count = ::pread(descriptor_, destination.data(), destination.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return io_error(path_, "cannot be read", errno);
    if (count == 0) return {StatusCode::kIo, path_ + ": ends at byte " + std::to_string(offset)};
    offset += static_cast<uint64_t>(count);
    destination = destination.subspan(static_cast<size_t>(count));
  }
  return {};
}

void drop_pages(const std::string& path) { (void)InputFile::open(path); }

Result<std::vector<std::byte>> read_head(const std::string& path, uint64_t at_most, uint64_t& file_bytes) {
  FN_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(path));
  file_bytes = file.bytes();
  std::vector<std::byte> head(std::min(at_most, file.bytes()));
  FN_RETURN_IF_ERROR(file.read(0, head));
  return head;
}

}  // namespace flashneuron
