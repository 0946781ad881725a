// What the kernels' benchmark reads: a matrix of bundles larger than any cache, of any element type.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/dtype.h"
#include "ffn/ffn_accumulator.h"

namespace flashneuron {

// Random bytes serve every type: they are read as elements of `dtype`, whose floats may not be NaN or infinite.
class WeightMatrix {
 public:
  // `bytes` of bundles of 2 * hidden_size elements. Throws std::runtime_error without that much memory.
  WeightMatrix(uint32_t hidden_size, uint64_t bytes);

  // The memory holds elements of `dtype` from here on.
  void fill(DType dtype);
  // `share` of the neurons of a layer of `ffn_size`, at places drawn from the whole matrix, in neuron order.
  std::vector<NeuronRow> draw(uint32_t ffn_size, double share);
  std::span<const std::byte> memory() { return memory_.span(); }

 private:
  uint32_t hidden_size_;
  DType dtype_ = DType::kFp32;
  AlignedBuffer memory_;
  std::vector<std::byte> scales_;  // of one neuron; every row has the same
  std::mt19937_64 random_{7};
};

}  // namespace flashneuron
