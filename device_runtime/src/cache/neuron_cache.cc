// The structure of LLM in a flash, section 3.3: rows stay packed at the front of one preallocated matrix.
//
// Per neuron two states: absent, or cached in exactly one row. Transitions: append() absent → cached in row size();
// evict() cached → absent, and the neuron of the last row moves into the freed one; clear() all → absent.
//
// Invariants, with n = size():
//   1. Rows 0 … n-1 hold the records of row_to_neuron_[0 … n-1], all different; bytes of later rows mean nothing.
//   2. neuron_to_row_[row_to_neuron_[row]] == row for row < n, and kAbsent for every other neuron.
//   3. n <= capacity(); the matrix and both maps never reallocate.
// An eviction copies at most one row and an insertion none, so a token costs O(evicted) copies whatever the cache
// holds. The order of rows carries no meaning: sums are ordered by neuron index elsewhere.
#include "cache/neuron_cache.h"

#include <cassert>
#include <cstring>

namespace flashneuron {

Result<NeuronCache> NeuronCache::create(uint32_t neuron_count, uint32_t capacity_rows, uint32_t row_bytes) {
  NeuronCache cache;
  FN_ASSIGN_OR_RETURN(cache.matrix_, AlignedBuffer::create(size_t{capacity_rows} * row_bytes));
  cache.capacity_ = capacity_rows;
  cache.row_bytes_ = row_bytes;
  cache.row_to_neuron_.reserve(capacity_rows);
  cache.neuron_to_row_.assign(neuron_count, kAbsent);
  return cache;
}

const std::byte* NeuronCache::find(uint32_t neuron) const {
  const uint32_t row = neuron_to_row_[neuron];
  return row == kAbsent ? nullptr : matrix_.data() + size_t{row} * row_bytes_;
}

std::byte* NeuronCache::append(uint32_t neuron) {
  assert(size() < capacity_ && neuron_to_row_[neuron] == kAbsent);
  const uint32_t row = size();
  row_to_neuron_.push_back(neuron);
  neuron_to_row_[neuron] = row;
  return matrix_.data() + size_t{row} * row_bytes_;
}

void NeuronCache::evict(uint32_t neuron) {
  assert(neuron_to_row_[neuron] != kAbsent);
  const uint32_t row = neuron_to_row_[neuron];
  const uint32_t last = size() - 1;
  if (row != last) {
    std::memcpy(matrix_.data() + size_t{row} * row_bytes_, matrix_.data() + size_t{last} * row_bytes_, row_bytes_);
    row_to_neuron_[row] = row_to_neuron_[last];
    neuron_to_row_[row_to_neuron_[row]] = row;
  }
  row_to_neuron_.pop_back();
  neuron_to_row_[neuron] = kAbsent;
}

void NeuronCache::clear() {
  for (const uint32_t neuron : row_to_neuron_) neuron_to_row_[neuron] = kAbsent;
  row_to_neuron_.clear();
}

}  // namespace flashneuron
