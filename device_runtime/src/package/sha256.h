// SHA-256: what `packages verify` and the push compare with the manifest.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "flashneuron/status.h"

struct evp_md_ctx_st;

namespace flashneuron {

// The hash of bytes that come in parts. Used by one thread.
class Sha256 {
 public:
  Sha256();

  // Error: kInternal, when libcrypto cannot.
  Status add(std::span<const std::byte> part);
  // 64 lower-case hexadecimal digits; ends the hash.
  Result<std::string> finish();

 private:
  struct Deleter {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Deleter> context_;  // null once libcrypto failed
};

// Of a whole file. Errors: kNotFound, kIo, kInternal.
Result<std::string> sha256_file(const std::string& path);

}  // namespace flashneuron
