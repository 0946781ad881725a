// SHA-256: what `packages verify` and the push compare with the manifest. By the CPU's instructions: on arm64 our own
// few (sha256_arm64.cc), elsewhere libcrypto's (sha256_crypto.cc).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "flashneuron/status.h"

namespace flashneuron {

// The hash of bytes that come in parts. Used by one thread.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&& other) noexcept;
  ~Sha256();

  // Error: kInternal, when libcrypto cannot.
  Status add(std::span<const std::byte> part);
  // 64 lower-case hexadecimal digits; ends the hash.
  Result<std::string> finish();

 private:
  struct State;
  Result<std::array<uint8_t, 32>> digest();

  std::unique_ptr<State> state_;
};

// Of a whole file. Errors: kNotFound, kIo, kInternal.
Result<std::string> sha256_file(const std::string& path);

}  // namespace flashneuron
