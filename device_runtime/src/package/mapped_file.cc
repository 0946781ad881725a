#include "package/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace flashneuron {

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  FN_ASSIGN_OR_RETURN(InputFile file, InputFile::open(path));
  if (file.bytes() == 0) return Status(StatusCode::kIo, path + ": is empty");
  void* data = mmap(nullptr, file.bytes(), PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (data == MAP_FAILED) {
    return Status(StatusCode::kIo, path + ": cannot be mapped: " + std::generic_category().message(errno));
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(std::move(file), static_cast<std::byte*>(data)));
}

MappedFile::~MappedFile() { munmap(data_, file_.bytes()); }

void MappedFile::drop_pages() const {
  (void)madvise(data_, file_.bytes(), MADV_DONTNEED);
  (void)posix_fadvise(file_.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
}

}  // namespace flashneuron
