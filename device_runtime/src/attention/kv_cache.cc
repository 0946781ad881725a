#include "attention/kv_cache.h"

#include <array>
#include <cstring>
#include <utility>

#include "core/align.h"
#include "kernels/kernels.h"

namespace flashneuron {
namespace {

constexpr DType element(KvType type) { return type == KvType::kFp32 ? DType::kFp32 : DType::kFp16; }

// Keys of one layer, or its values, with the next matrix on a cache line of its own.
constexpr uint64_t matrix_bytes(uint32_t capacity, uint32_t row_bytes) {
  return round_up(uint64_t{capacity} * row_bytes, 64);
}

}  // namespace

Result<KvCache> KvCache::create(uint32_t layers, uint32_t capacity, uint32_t kv_size, KvType type,
                                MemorySource* source) {
  KvCache cache;
  cache.capacity_ = capacity;
  cache.kv_size_ = kv_size;
  cache.row_bytes_ = static_cast<uint32_t>(kv_size * element_bytes(element(type)));
  cache.type_ = type;
  cache.layers_.reserve(layers);
  const size_t matrix = matrix_bytes(capacity, cache.row_bytes_);
  const std::array<size_t, 2> tensors{0, matrix};
  for (uint32_t layer = 0; layer < layers; ++layer) {
    FN_ASSIGN_OR_RETURN(AlignedBuffer buffer,
                        source ? source->allocate(2 * matrix, tensors) : AlignedBuffer::create(2 * matrix));
    std::memset(buffer.data(), 0, buffer.size());
    cache.layers_.push_back(std::move(buffer));
  }
  return cache;
}

uint64_t KvCache::bytes(uint32_t layers, uint32_t capacity, uint32_t kv_size, KvType type) {
  const auto row_bytes = static_cast<uint32_t>(kv_size * element_bytes(element(type)));
  return layers * round_up(2 * matrix_bytes(capacity, row_bytes), AlignedBuffer::kAlignment);
}

std::byte* KvCache::keys(uint32_t layer) { return layers_[layer].data(); }

std::byte* KvCache::values(uint32_t layer) { return layers_[layer].data() + matrix_bytes(capacity_, row_bytes_); }

void KvCache::append(uint32_t layer, uint32_t position, uint32_t tokens, const float* k, const float* v) {
  const size_t offset = size_t{position} * row_bytes_;
  const size_t count = size_t{tokens} * kv_size_;
  kernels::from_fp32(k, element(type_), keys(layer) + offset, count);
  kernels::from_fp32(v, element(type_), values(layer) + offset, count);
}

}  // namespace flashneuron
