// How the keys of a token, or its values, lie in the KV cache (FORMAT.md, "Attention programs").
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"
#include "flashneuron/options.h"

namespace flashneuron {

// size() elements, head after head. int8: integers, then one fp32 scale a kv head; a head's largest magnitude is 127,
// so that one head's outliers do not coarsen another's steps.
struct KvRow {
  uint32_t kv_heads = 0;
  uint32_t head_size = 0;
  KvType type = KvType::kFp16;

  DType element() const {
    return type == KvType::kFp32 ? DType::kFp32 : type == KvType::kFp16 ? DType::kFp16 : DType::kInt8;
  }
  uint32_t size() const { return kv_heads * head_size; }
  uint32_t bytes() const {
    const uint32_t scales = type == KvType::kInt8 ? kv_heads * static_cast<uint32_t>(sizeof(float)) : 0;
    return size() * static_cast<uint32_t>(element_bytes(element())) + scales;
  }
  // Elements of a kv head within a row, and their common factor: 1 for floats. Rows may lie at any address.
  const std::byte* head(const std::byte* row, uint32_t kv_head) const {
    return row + size_t{kv_head} * head_size * element_bytes(element());
  }
  float scale(const std::byte* row, uint32_t kv_head) const {
    if (type != KvType::kInt8) return 1.0f;
    float value;
    std::memcpy(&value, row + size() + kv_head * sizeof(value), sizeof(value));
    return value;
  }
  // Rounds finite fp32 [count, size()] to out [count, bytes()].
  void store(const float* rows, size_t count, std::byte* out) const;
};

}  // namespace flashneuron
