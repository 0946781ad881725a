#include <openssl/evp.h>

#include "package/sha256.h"

namespace flashneuron {
namespace {

Status failed() { return {StatusCode::kInternal, "libcrypto could not compute SHA-256"}; }

struct Free {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

}  // namespace

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};  // null once libcrypto failed
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  auto& context = state_->context;
  if (context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) context.reset();
}
Sha256::Sha256(Sha256&& other) noexcept = default;
Sha256::~Sha256() = default;

Status Sha256::add(std::span<const std::byte> part) {
  const auto& context = state_->context;
  if (!context || EVP_DigestUpdate(context.get(), part.data(), part.size()) != 1) return failed();
  return {};
}

Result<std::array<uint8_t, 32>> Sha256::digest() {
  std::array<uint8_t, 32> digest;
  const auto& context = state_->context;
  if (!context || EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1) return failed();
  return digest;
}

}  // namespace flashneuron
