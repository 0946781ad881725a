// Keys and values of one session, owned by the runtime: per layer two matrices [capacity, kv_size] of fp32 or fp16.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/memory_source.h"
#include "flashneuron/options.h"
#include "flashneuron/status.h"

namespace flashneuron {

class KvCache {
 public:
  // All zeros, so that rows that nobody wrote are numbers. Its memory is the heap's, or that of `source`. Error:
  // kOutOfMemory.
  static Result<KvCache> create(uint32_t layers, uint32_t capacity, uint32_t kv_size, KvType type,
                                MemorySource* source = nullptr);
  static uint64_t bytes(uint32_t layers, uint32_t capacity, uint32_t kv_size, KvType type);

  uint32_t capacity() const { return capacity_; }
  uint32_t row_bytes() const { return row_bytes_; }
  std::byte* keys(uint32_t layer);
  std::byte* values(uint32_t layer);
  // Converts fp32 [tokens, kv_size] and writes it at rows position … position + tokens - 1. Precondition: they fit.
  void append(uint32_t layer, uint32_t position, uint32_t tokens, const float* k, const float* v);

 private:
  uint32_t capacity_ = 0;
  uint32_t kv_size_ = 0;
  uint32_t row_bytes_ = 0;
  KvType type_ = KvType::kFp16;
  std::vector<AlignedBuffer> layers_;  // keys, then values
};

}  // namespace flashneuron
