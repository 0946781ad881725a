// The neuron cache of one layer: one matrix of rows, whose memory may shrink and grow between tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/aligned_buffer.h"
#include "flashneuron/status.h"

namespace flashneuron {

class NeuronCache {
 public:
  NeuronCache() = default;
  // `capacity_rows` is at most `neuron_count`, `row_bytes` a multiple of 64. Errors: kOutOfMemory.
  static Result<NeuronCache> create(uint32_t neuron_count, uint32_t capacity_rows, uint32_t row_bytes);

  uint32_t size() const { return used_ - static_cast<uint32_t>(free_.size()); }
  uint32_t capacity() const { return capacity_; }
  bool contains(uint32_t neuron) const { return neuron_to_row_[neuron] != kAbsent; }
  // The row's bytes, or nullptr if the neuron is not cached. Valid as long as the neuron stays, and until
  // set_capacity().
  const std::byte* find(uint32_t neuron) const {
    const uint32_t row = neuron_to_row_[neuron];
    return row == kAbsent ? nullptr : matrix_.data() + size_t{row} * row_bytes_;
  }
  // A row for a neuron that is not cached, to be filled by the caller. Precondition: size() < capacity().
  std::byte* insert(uint32_t neuron);
  // Frees the row of a cached neuron.
  void evict(uint32_t neuron);
  // Room for `rows` neurons from now on. Rows beyond them move below, O(neurons) and the copies of those that move, and
  // their memory goes back to the system; rows that are gained take memory as they are filled. Precondition: size() <=
  // rows <= neuron_count.
  void set_capacity(uint32_t rows);

 private:
  static constexpr uint32_t kAbsent = UINT32_MAX;
  uint32_t capacity_ = 0;
  uint32_t row_bytes_ = 0;
  uint32_t used_ = 0;  // rows below the capacity that were ever taken
  AlignedBuffer matrix_;
  std::vector<uint32_t> free_;  // rows below used_ without a neuron
  std::vector<uint32_t> neuron_to_row_;
};

}  // namespace flashneuron
