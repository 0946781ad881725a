#include <algorithm>
#include <cstring>

#include "package/sha256.h"
#include "package/sha256_blocks.h"

namespace flashneuron {

struct Sha256::State {
  // The first 32 bits of the fractions of the square roots of the first 8 primes.
  uint32_t words[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::byte block[64];  // what does not fill one yet: `bytes` % 64
  uint64_t bytes = 0;
  decltype(&sha256_blocks_portable) blocks =
      has_sha256_instructions() ? sha256_blocks_by_instructions : sha256_blocks_portable;

  void add(std::span<const std::byte> part) {
    size_t held = bytes % sizeof(block);
    bytes += part.size();
    if (held > 0) {
      const size_t taken = std::min(sizeof(block) - held, part.size());
      std::copy_n(part.data(), taken, block + held);
      part = part.subspan(taken);
      held += taken;
      if (held < sizeof(block)) return;
      blocks(words, block, 1);
    }
    const size_t whole = part.size() / sizeof(block);
    blocks(words, part.data(), whole);
    part = part.subspan(whole * sizeof(block));
    std::copy(part.begin(), part.end(), block);
  }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::Sha256(Sha256&& other) noexcept = default;
Sha256::~Sha256() = default;

Status Sha256::add(std::span<const std::byte> part) {
  state_->add(part);
  return {};
}

// A one bit, zeros up to 8 bytes before the end of a block, the number of bits.
Result<std::array<uint8_t, 32>> Sha256::digest() {
  constexpr size_t kLengthBytes = 8;
  const uint64_t bits = 8 * state_->bytes;
  const size_t block = sizeof(state_->block);
  const size_t held = state_->bytes % block;
  std::byte end[2 * sizeof(state_->block)] = {std::byte{0x80}};
  const size_t end_bytes = (held + 1 + kLengthBytes <= block ? block : 2 * block) - held;
  for (size_t i = 0; i < kLengthBytes; ++i) end[end_bytes - 1 - i] = static_cast<std::byte>(bits >> (8 * i));
  state_->add(std::span(end).first(end_bytes));
  std::array<uint8_t, 32> digest;
  for (size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<uint8_t>(state_->words[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

}  // namespace flashneuron
