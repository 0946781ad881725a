// The structure of LLM in a flash, section 3.3, without its copies: the kernels take rows by pointer, so rows need not
// stay packed, and an evicted row is filled by the next insertion instead of by the last row.
//
// Per neuron two states: absent, or cached in exactly one row. Transitions: insert() absent → cached in a free row;
// evict() cached → absent, its row becomes free; set_capacity() cached → cached in another row.
//
// Invariants, with n = size():
//   1. Rows below used_ are either held by exactly one neuron or in free_; rows from used_ on hold nothing.
//   2. neuron_to_row_[neuron] is the row that holds its record, or kAbsent.
//   3. n = used_ - free_.size() <= used_ <= capacity(); a row moves in set_capacity() alone.
//   4. The matrix has addresses for every neuron of the layer, and memory for rows below the capacity alone.
// The order of rows carries no meaning: sums are ordered by neuron index. Every operation is O(1) and copies nothing,
// but for set_capacity().
//
// Growing takes no memory at once: a token then pays for the pages of the rows that it fills, and never for all of
// them. Shrinking copies only the rows that lie beyond the new end, at memory speed, and is over when it returns: who
// asks for memory under pressure cannot wait for tokens.
#include "cache/neuron_cache.h"

#include <cassert>
#include <cstring>

namespace flashneuron {

Result<NeuronCache> NeuronCache::create(uint32_t neuron_count, uint32_t capacity_rows, uint32_t row_bytes) {
  NeuronCache cache;
  assert(capacity_rows <= neuron_count);
  FN_ASSIGN_OR_RETURN(cache.matrix_, AlignedBuffer::reserve(size_t{neuron_count} * row_bytes));
  const size_t bytes = size_t{capacity_rows} * row_bytes;
  cache.matrix_.use(bytes);
  // Touched now, so that tokens pay for no page faults, and a budget that DRAM does not hold fails at the start.
  constexpr size_t kSmallestPage = 4096;
  for (size_t at = 0; at < bytes; at += kSmallestPage) cache.matrix_.data()[at] = std::byte{0};
  cache.capacity_ = capacity_rows;
  cache.row_bytes_ = row_bytes;
  cache.free_.reserve(capacity_rows);
  cache.neuron_to_row_.assign(neuron_count, kAbsent);
  return cache;
}

std::byte* NeuronCache::insert(uint32_t neuron) {
  assert(size() < capacity_ && neuron_to_row_[neuron] == kAbsent);
  uint32_t row = used_;
  if (free_.empty()) {
    ++used_;
  } else {
    row = free_.back();
    free_.pop_back();
  }
  neuron_to_row_[neuron] = row;
  return matrix_.data() + size_t{row} * row_bytes_;
}

void NeuronCache::evict(uint32_t neuron) {
  assert(neuron_to_row_[neuron] != kAbsent);
  free_.push_back(neuron_to_row_[neuron]);
  neuron_to_row_[neuron] = kAbsent;
}

void NeuronCache::set_capacity(uint32_t rows) {
  assert(size() <= rows && rows <= neuron_to_row_.size());
  if (rows < used_) {
    std::erase_if(free_, [&](uint32_t row) { return row >= rows; });
    for (uint32_t& row : neuron_to_row_) {
      if (row == kAbsent || row < rows) continue;
      std::memcpy(matrix_.data() + size_t{free_.back()} * row_bytes_, matrix_.data() + size_t{row} * row_bytes_,
                  row_bytes_);
      row = free_.back();
      free_.pop_back();
    }
    used_ = rows;
  }
  capacity_ = rows;
  matrix_.use(size_t{rows} * row_bytes_);
}

}  // namespace flashneuron
