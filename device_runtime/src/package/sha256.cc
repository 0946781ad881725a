#include "package/sha256.h"

#include <fcntl.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "package/file_io.h"

namespace flashneuron {
namespace {

Status failed() { return {StatusCode::kInternal, "libcrypto could not compute SHA-256"}; }

}  // namespace

void Sha256::Deleter::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) context_.reset();
}

Status Sha256::add(std::span<const std::byte> part) {
  if (!context_ || EVP_DigestUpdate(context_.get(), part.data(), part.size()) != 1) return failed();
  return {};
}

Result<std::string> Sha256::finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int digest_bytes = 0;
  if (!context_ || EVP_DigestFinal_ex(context_.get(), digest, &digest_bytes) != 1) return failed();
  std::string hex;
  for (unsigned int i = 0; i < digest_bytes; ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[digest[i] >> 4];
    hex += kDigits[digest[i] & 15];
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
