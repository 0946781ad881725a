// The neuron cache of one layer: one preallocated matrix of rows, grown and shrunk at its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/aligned_buffer.h"
#include "flashneuron/status.h"

namespace flashneuron {

class NeuronCache {
 public:
  NeuronCache() = default;
  // `row_bytes` is a multiple of 64. Errors: kOutOfMemory.
  static Result<NeuronCache> create(uint32_t neuron_count, uint32_t capacity_rows, uint32_t row_bytes);

  uint32_t size() const { return static_cast<uint32_t>(row_to_neuron_.size()); }
  uint32_t capacity() const { return capacity_; }
  // The row's bytes, or nullptr if the neuron is not cached. Valid until the next evict().
  const std::byte* find(uint32_t neuron) const;
  // A new row at the end for a neuron that is not cached. Precondition: size() < capacity().
  std::byte* append(uint32_t neuron);
  // Removes a cached neuron: the last row is copied over it. O(row_bytes).
  void evict(uint32_t neuron);
  std::span<const uint32_t> neurons() const { return row_to_neuron_; }
  void clear();

 private:
  static constexpr uint32_t kAbsent = UINT32_MAX;
  uint32_t capacity_ = 0;
  uint32_t row_bytes_ = 0;
  AlignedBuffer matrix_;
  std::vector<uint32_t> row_to_neuron_;
  std::vector<uint32_t> neuron_to_row_;
};

}  // namespace flashneuron
