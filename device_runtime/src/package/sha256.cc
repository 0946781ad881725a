#include "package/sha256.h"

#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "package/file_io.h"

namespace flashneuron {

Result<std::string> Sha256::finish() {
  const Result<std::array<uint8_t, 32>> found = digest();
  if (!found.ok()) return found.status();
  std::string hex;
  for (const uint8_t byte : found.value()) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

Result<std::string> sha256_file(const std::string& path) {
  constexpr size_t kReadBytes = size_t{256} << 10;  // stays in a core's own cache between the copy and the hash
  FN_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(path));
  posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_SEQUENTIAL);
  Sha256 hash;
  std::vector<std::byte> block(std::min<uint64_t>(kReadBytes, file.bytes()));
  for (uint64_t offset = 0; offset < file.bytes(); offset += block.size()) {
    const std::span<std::byte> part = std::span(block).first(std::min<uint64_t>(block.size(), file.bytes() - offset));
    FN_RETURN_IF_ERROR(file.read(offset, part));
    FN_RETURN_IF_ERROR(hash.add(part));
  }
  return hash.finish();
}

}  // namespace flashneuron
