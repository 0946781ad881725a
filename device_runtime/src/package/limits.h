// Bounds of format version 1 (FORMAT.md). Within them every size computed from a manifest or a header fits 64 bits, and
// a record's 32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flashneuron {

constexpr uint32_t kFormatVersion = 1;
constexpr size_t kMaxManifestBytes = size_t{4} << 20;
constexpr size_t kMaxPathBytes = 512;
constexpr size_t kMaxNameBytes = 200;
constexpr uint32_t kMaxLayers = 1024;
constexpr uint32_t kMaxSize = (1u << 24) - 1;  // hidden_size, ffn_size, vocab_size, …
constexpr uint32_t kMaxRank = 65536;
constexpr uint64_t kMaxFileBytes = (uint64_t{1} << 48) - 1;

}  // namespace flashneuron
