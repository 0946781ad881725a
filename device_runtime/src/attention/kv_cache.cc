#include "attention/kv_cache.h"

#include <array>
#include <cstring>
#include <utility>

#include "core/align.h"

namespace flashneuron {
namespace {

// Keys of one layer, or its values, with the next matrix on a cache line of its own.
constexpr uint64_t matrix_bytes(uint32_t capacity, uint32_t row_bytes) {
  return round_up(uint64_t{capacity} * row_bytes, 64);
}

}  // namespace

Result<KvCache> KvCache::create(uint32_t layers, uint32_t capacity, KvRow row, MemorySource* source) {
  KvCache cache;
  cache.capacity_ = capacity;
  cache.row_ = row;
  cache.layers_.reserve(layers);
  const size_t matrix = matrix_bytes(capacity, row.bytes());
  const std::array<size_t, 2> tensors{0, matrix};
  for (uint32_t layer = 0; layer < layers; ++layer) {
    FN_ASSIGN_OR_RETURN(AlignedBuffer buffer,
                        source ? source->allocate(2 * matrix, tensors) : AlignedBuffer::create(2 * matrix));
    std::memset(buffer.data(), 0, buffer.size());
    cache.layers_.push_back(std::move(buffer));
  }
  return cache;
}

uint64_t KvCache::bytes(uint32_t layers, uint32_t capacity, KvRow row) {
  return layers * round_up(2 * matrix_bytes(capacity, row.bytes()), AlignedBuffer::kAlignment);
}

std::byte* KvCache::keys(uint32_t layer) { return layers_[layer].data(); }

std::byte* KvCache::values(uint32_t layer) { return layers_[layer].data() + matrix_bytes(capacity_, row_bytes()); }

void KvCache::append(uint32_t layer, uint32_t position, uint32_t tokens, const float* k, const float* v) {
  const size_t offset = size_t{position} * row_bytes();
  row_.store(k, tokens, keys(layer) + offset);
  row_.store(v, tokens, values(layer) + offset);
}

}  // namespace flashneuron
