// Keys and values of one session, owned by the runtime: per layer two matrices of `capacity` rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "attention/kv_row.h"
#include "core/aligned_buffer.h"
#include "core/memory_source.h"
#include "flashneuron/status.h"

namespace flashneuron {

class KvCache {
 public:
  // All zeros, so that rows that nobody wrote are numbers. Its memory is the heap's, or that of `source`. Error:
  // kOutOfMemory.
  static Result<KvCache> create(uint32_t layers, uint32_t capacity, KvRow row, MemorySource* source = nullptr);
  static uint64_t bytes(uint32_t layers, uint32_t capacity, KvRow row);

  uint32_t capacity() const { return capacity_; }
  const KvRow& row() const { return row_; }
  uint32_t row_bytes() const { return row_.bytes(); }
  std::byte* keys(uint32_t layer);
  std::byte* values(uint32_t layer);
  // Rounds fp32 [tokens, row().size()] and writes it at rows position … position + tokens - 1. Precondition: they fit.
  void append(uint32_t layer, uint32_t position, uint32_t tokens, const float* k, const float* v);

 private:
  uint32_t capacity_ = 0;
  KvRow row_;
  std::vector<AlignedBuffer> layers_;  // keys, then values
};

}  // namespace flashneuron
