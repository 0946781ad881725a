// Causal attention over the runtime's KV cache: the numbers of the operator flashneuron::attention (FORMAT.md), free of
// ExecuTorch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

namespace flashneuron {

// One call for `tokens` new tokens at positions position … position + tokens - 1. kv = kv_heads × head_size.
struct AttentionCall {
  uint32_t heads = 0;
  uint32_t kv_heads = 0;  // divides heads; head h reads keys of kv head h / (heads / kv_heads)
  uint32_t head_size = 0;
  uint32_t tokens = 0;
  uint32_t position = 0;
  DType element = DType::kFp32;         // of keys and values
  const float* q = nullptr;             // [tokens, heads × head_size], already scaled
  const std::byte* keys = nullptr;      // cached, [position, kv]
  const std::byte* values = nullptr;    // cached, [position, kv]
  const std::byte* new_keys = nullptr;  // [tokens, kv]
  const std::byte* new_values = nullptr;
};

// Output pairs [begin, end) of out [tokens, heads × head_size], where pair t × heads + h is head h of token t: the
// softmax of its scores over rows 0 … position + t, times the values. A pair's bits depend on its query and those rows
// alone: not on how tokens are cut into calls nor on how pairs are cut over threads.
void attend(const AttentionCall& call, size_t begin, size_t end, float* out);

}  // namespace flashneuron
