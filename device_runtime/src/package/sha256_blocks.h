// SHA-256's compression of whole blocks of 64 bytes, on arm64 (FIPS 180-4, section 6.2).
#pragma once

#include <cstddef>
#include <cstdint>

namespace flashneuron {

// `state`: [8]. `data`: [blocks * 64], at any address. Both give the same.
void sha256_blocks_by_instructions(uint32_t* state, const std::byte* data, size_t blocks);
void sha256_blocks_portable(uint32_t* state, const std::byte* data, size_t blocks);

// Whether this CPU has the instructions.
bool has_sha256_instructions();

}  // namespace flashneuron
