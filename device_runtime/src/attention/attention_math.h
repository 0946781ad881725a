// Causal attention over the runtime's KV cache: the numbers of the operators flashneuron::attention and
// flashneuron::attention_alibi (FORMAT.md), free of ExecuTorch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention/kv_row.h"

namespace flashneuron {

// One call for `tokens` new tokens at positions position … position + tokens - 1.
struct AttentionCall {
  uint32_t heads = 0;  // a multiple of the row's kv heads; head h reads keys of kv head h / (heads / kv_heads)
  KvRow row;           // of the keys and values
  uint32_t tokens = 0;
  uint32_t position = 0;
  const float* q = nullptr;             // [tokens, heads × head_size], already scaled
  const float* slopes = nullptr;        // [heads]: slopes[h] × j is added to the score of row j (ALiBi); null: none
  const std::byte* keys = nullptr;      // cached, `position` rows
  const std::byte* values = nullptr;    // cached, `position` rows
  const std::byte* new_keys = nullptr;  // `tokens` rows
  const std::byte* new_values = nullptr;
};

// Output pairs [begin, end) of out [tokens, heads × head_size], where pair t × heads + h is head h of token t: the
// softmax of its scores over rows 0 … position + t, times the values. A pair's bits depend on its query and those rows
// (and its slope) alone: not on how tokens are cut into calls nor on how pairs are cut over threads.
void attend(const AttentionCall& call, size_t begin, size_t end, float* out);

}  // namespace flashneuron
