// A low-rank predictor of one layer, as read from predictor/layer_LLL.pred. See FORMAT.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/dtype.h"
#include "flashneuron/status.h"

namespace flashneuron {

struct LowRankWeights {
  uint32_t layer = 0;
  uint32_t hidden_size = 0;
  uint32_t ffn_size = 0;
  uint32_t rank = 0;
  DType dtype = DType::kFp32;
  AlignedBuffer file;  // the whole file; the spans below point into it

  const float* bias() const;   // [ffn_size]
  const std::byte* a() const;  // [rank, hidden_size] of dtype
  const std::byte* b() const;  // [ffn_size, rank] of dtype
};

// Errors: kIo, kCorrupt, kNewerFormat, kOutOfMemory. `path` is opened, `name` stands in messages.
Result<LowRankWeights> read_lowrank(const std::string& path, const std::string& name);

}  // namespace flashneuron
