#include "flash_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <stdexcept>

namespace flashneuron::testing {

void write_pattern(const std::string& path, uint64_t bytes) {
  std::vector<std::byte> content(bytes);
  for (uint64_t offset = 0; offset < bytes; ++offset) content[offset] = pattern(offset);
  const int file = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  const bool written =
      file >= 0 && ::write(file, content.data(), bytes) == static_cast<ssize_t>(bytes) && fsync(file) == 0;
  if (file >= 0) ::close(file);
  if (!written) throw std::runtime_error("cannot write " + path);
}

std::map<uint64_t, Status> drain(FlashReader& reader) {
  std::map<uint64_t, Status> statuses;
  while (std::optional<ReadCompletion> completion = reader.wait()) {
    if (!statuses.emplace(completion->tag, completion->status).second) {
      throw std::runtime_error("a second completion of tag " + std::to_string(completion->tag));
    }
  }
  return statuses;
}

}  // namespace flashneuron::testing
