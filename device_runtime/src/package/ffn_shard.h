// FFN shards: the header's check and the place of a neuron's record. See FORMAT.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/activation.h"
#include "core/dtype.h"
#include "flashneuron/status.h"

namespace flashneuron {

constexpr uint64_t kFfnHeaderBytes = 16384;
constexpr uint64_t kMaxShardBytes = uint64_t{256} << 20;

enum class FfnPart : uint32_t { kBundle = 0, kUp = 1, kDown = 2, kGate = 3 };

struct FfnShardHeader {
  FfnPart part = FfnPart::kBundle;
  DType dtype = DType::kFp32;
  uint32_t layer = 0;
  uint32_t hidden_size = 0;
  uint32_t ffn_size = 0;
  uint32_t first_neuron = 0;
  uint32_t neuron_count = 0;
  uint32_t neurons_per_shard = 0;
  uint32_t record_bytes = 0;
  uint32_t stride = 0;
};

// `gated` matters to bundles alone.
constexpr uint32_t ffn_record_bytes(FfnPart part, DType dtype, uint32_t hidden_size, bool gated) {
  const uint32_t rows = part == FfnPart::kBundle ? bundle_rows(gated) : 1;
  return static_cast<uint32_t>(rows * row_bytes(dtype, hidden_size));
}
constexpr uint32_t ffn_stride(uint32_t record_bytes) { return (record_bytes + 63) / 64 * 64; }

// `head` is the file's first 64 bytes or more, `file_bytes` its size; `name` is for messages. Errors: kCorrupt,
// kNewerFormat.
Result<FfnShardHeader> parse_ffn_header(std::span<const std::byte> head, uint64_t file_bytes, const std::string& name);

}  // namespace flashneuron
