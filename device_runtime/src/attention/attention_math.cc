#include "attention/attention_math.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"

namespace flashneuron {
namespace {

// Rows are taken in blocks of this many positions, counted from position 0, with a running maximum and sum (online
// softmax): scores need no memory that grows with the context.
constexpr uint32_t kBlock = 64;

// Row `index` of a matrix whose first `cached` rows lie elsewhere than the rest.
const std::byte* row(const std::byte* cached_rows, const std::byte* new_rows, uint32_t cached, uint32_t index,
                     size_t row_bytes) {
  return index < cached ? cached_rows + index * row_bytes : new_rows + (index - cached) * row_bytes;
}

void attend_one(const AttentionCall& call, uint32_t token, uint32_t head, float* out) {
  const KvRow& kv = call.row;
  const size_t row_bytes = kv.bytes();
  const size_t size = kv.head_size;
  const uint32_t kv_head = head / (call.heads / kv.kv_heads);
  const float* q = call.q + (size_t{token} * call.heads + head) * size;
  const uint32_t rows = call.position + token + 1;
  const float slope = call.slopes != nullptr ? call.slopes[head] : 0.0f;

  std::fill_n(out, size, 0.0f);
  float maximum = -std::numeric_limits<float>::infinity();
  float sum = 0;
  std::array<float, kBlock> weight;
  for (uint32_t start = 0; start < rows; start += kBlock) {
    const uint32_t count = std::min(kBlock, rows - start);
    float block_maximum = maximum;
    for (uint32_t i = 0; i < count; ++i) {
      const std::byte* key = row(call.keys, call.new_keys, call.position, start + i, row_bytes);
      weight[i] = kv.scale(key, kv_head) * kernels::dot(kv.head(key, kv_head), kv.element(), q, size) +
                  slope * static_cast<float>(start + i);
      block_maximum = std::max(block_maximum, weight[i]);
    }
    const float correction = std::exp(maximum - block_maximum);  // 0 for the first block
    maximum = block_maximum;
    sum *= correction;
    for (size_t d = 0; d < size; ++d) out[d] *= correction;
    for (uint32_t i = 0; i < count; ++i) {
      const std::byte* value = row(call.values, call.new_values, call.position, start + i, row_bytes);
      const float w = std::exp(weight[i] - maximum);
      sum += w;
      kernels::axpy(w * kv.scale(value, kv_head), kv.head(value, kv_head), kv.element(), out, size);
    }
  }
  for (size_t d = 0; d < size; ++d) out[d] /= sum;
}

}  // namespace

void attend(const AttentionCall& call, size_t begin, size_t end, float* out) {
  for (size_t pair = begin; pair < end; ++pair) {
    attend_one(call, static_cast<uint32_t>(pair / call.heads), static_cast<uint32_t>(pair % call.heads),
               out + pair * call.row.head_size);
  }
}

}  // namespace flashneuron
