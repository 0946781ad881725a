// A low-rank predictor of one layer, as read from predictor/layer_LLL.pred. See FORMAT.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/dtype.h"
#include "flashneuron/status.h"

namespace flashneuron {

constexpr uint64_t kLowRankHeaderBytes = 64;

struct LowRankHeader {
  uint32_t layer = 0;
  uint32_t hidden_size = 0;
  uint32_t ffn_size = 0;
  uint32_t rank = 0;
  DType dtype = DType::kFp32;
  bool relu = false;  // between A and B

  // Places in the file; the bias starts at kLowRankHeaderBytes.
  uint64_t a_offset() const;
  uint64_t b_offset() const;
  uint64_t file_bytes() const;
};

struct LowRankWeights : LowRankHeader {
  AlignedBuffer file;  // the whole file; the pointers below point into it

  const float* bias() const;      // [ffn_size]
  const float* a_scales() const;  // [rank]; null for floats
  const float* b_scales() const;  // [ffn_size]; null for floats
  const std::byte* a() const;     // [rank, hidden_size] of dtype
  const std::byte* b() const;     // [ffn_size, rank] of dtype
};

// `head` is the file's first 64 bytes or more, `file_bytes` its size; `name` is for messages. Errors: kCorrupt,
// kNewerFormat.
Result<LowRankHeader> parse_lowrank_header(std::span<const std::byte> head, uint64_t file_bytes,
                                           const std::string& name);

// Errors: kIo, kCorrupt, kNewerFormat, kOutOfMemory. `path` is opened, `name` stands in messages.
Result<LowRankWeights> read_lowrank(const std::string& path, const std::string& name);

}  // namespace flashneuron
