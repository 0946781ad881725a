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
  const size_t row_bytes = size_t{call.kv_heads} * call.head_size * element_bytes(call.element);
  const size_t head_offset = size_t{head / (call.heads / call.kv_heads)} * call.head_size * element_bytes(call.element);
  const float* q = call.q + (size_t{token} * call.heads + head) * call.head_size;
  const uint32_t rows = call.position + token + 1;

  std::fill_n(out, call.head_size, 0.0f);
  float maximum = -std::numeric_limits<float>::infinity();
  float sum = 0;
  std::array<float, kBlock> weight;
  for (uint32_t start = 0; start < rows; start += kBlock) {
    const uint32_t count = std::min(kBlock, rows - start);
    float block_maximum = maximum;
    for (uint32_t i = 0; i < count; ++i) {
      const std::byte* key = row(call.keys, call.new_keys, call.position, start + i, row_bytes) + head_offset;
      weight[i] = kernels::dot(key, call.element, q, call.head_size);
      block_maximum = std::max(block_maximum, weight[i]);
    }
    const float correction = std::exp(maximum - block_maximum);  // 0 for the first block
    maximum = block_maximum;
    sum *= correction;
    for (uint32_t d = 0; d < call.head_size; ++d) out[d] *= correction;
    for (uint32_t i = 0; i < count; ++i) {
      const std::byte* value = row(call.values, call.new_values, call.position, start + i, row_bytes) + head_offset;
      const float w = std::exp(weight[i] - maximum);
      sum += w;
      kernels::axpy(w, value, call.element, out, call.head_size);
    }
  }
  for (uint32_t d = 0; d < call.head_size; ++d) out[d] /= sum;
}

}  // namespace

void attend(const AttentionCall& call, size_t begin, size_t end, float* out) {
  for (size_t pair = begin; pair < end; ++pair) {
    attend_one(call, static_cast<uint32_t>(pair / call.heads), static_cast<uint32_t>(pair % call.heads),
               out + pair * call.head_size);
  }
}

}  // namespace flashneuron
