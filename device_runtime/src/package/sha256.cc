#include "package/sha256.h"

#include <fcntl.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "package/file_io.h"

namespace flashneuron {

Result<std::string> sha256_file(const std::string& path) {
  constexpr size_t kReadBytes = size_t{1} << 20;
  FN_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(path));
  posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_SEQUENTIAL);

  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const Status failed(StatusCode::kInternal, path + ": libcrypto could not compute SHA-256");
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) return failed;
  std::vector<std::byte> block(std::min<uint64_t>(kReadBytes, file.bytes()));
  for (uint64_t offset = 0; offset < file.bytes(); offset += block.size()) {
    const std::span<std::byte> part = std::span(block).first(std::min<uint64_t>(block.size(), file.bytes() - offset));
    FN_RETURN_IF_ERROR(file.read(offset, part));
    if (EVP_DigestUpdate(context.get(), part.data(), part.size()) != 1) return failed;
  }
  // A hashed file is not about to be read again through the page cache, and a run after a push should start cold.
  posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);

  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int digest_bytes = 0;
  if (EVP_DigestFinal_ex(context.get(), digest, &digest_bytes) != 1) return failed;
  std::string hex;
  for (unsigned int i = 0; i < digest_bytes; ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[digest[i] >> 4];
    hex += kDigits[digest[i] & 15];
  }
  return hex;
}

}  // namespace flashneuron
