// The sparse FFN of one layer, fed with neurons in index order as their rows become readable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/activation.h"
#include "core/dtype.h"
#include "core/thread_pool.h"
#include "kernels/weights.h"

namespace flashneuron {

// Where the rows of a neuron can be read: hidden_size elements each, of the layer's dtype, and the scales of each
// (scale_bytes; null for floats).
struct NeuronRow {
  uint32_t neuron = 0;
  const std::byte* up = nullptr;
  const std::byte* down = nullptr;
  const std::byte* up_scales = nullptr;
  const std::byte* down_scales = nullptr;
  const std::byte* gate = nullptr;  // null without a gate, and where its product is known
  const std::byte* gate_scales = nullptr;
  float gate_product = 0;  // gate·x, where the rule has a gate and `gate` is null
};

// out[t] = down_bias + sum over neurons n of h * down[n], where h is the rule's activation (kernels/neuron.h) of
// gate[n]·x[t] and up[n]·x[t] + up_bias[n].
//
// The order of the sum is fixed by neuron index alone: neurons of one block of kBlock indices are summed in index order
// into a partial vector that starts at zero (kernels/weights.h), and partials are added to the result in block order.
// Neurons that do not fire are left out, as if absent. So for one x the bits depend neither on which silent neurons
// were added, nor on how the rows were cut into calls, nor on threads.
class FfnAccumulator {
 public:
  static constexpr uint32_t kBlock = 256;

  // Buffers for up to `max_tokens` tokens. One thread calls; the pool splits activations by (row, token) and sums by
  // output, so that no float has two writers.
  FfnAccumulator(uint32_t hidden_size, DType dtype, size_t max_tokens, ThreadPool& pool);

  // x is [tokens, hidden_size], up_bias [ffn_size], down_bias [hidden_size]; all must outlive finish(). Rows have a
  // gate if the rule has one.
  void begin(std::span<const float> x, size_t tokens, const ActivationRule& rule, std::span<const float> up_bias,
             std::span<const float> down_bias);
  // activations[r, t] = h of row r for token t, [rows, tokens], in any order of rows; rows whose `up` is null are left
  // out. With `masks`, one a row, tokens that do not select a row (bit t is clear; at most 32 tokens) get 0, and cost
  // nothing: as if absent for them.
  void activate(std::span<const NeuronRow> rows, std::span<float> activations,
                std::span<const uint32_t> masks = {}) const;
  // products[r] = gate·x of row r, whose gate alone is needed. Precondition: one token.
  void multiply_gates(std::span<const NeuronRow> rows, std::span<float> products) const;
  // Adds the terms of rows with these activations. Ascending neuron order, after every row added since begin(). Rows
  // may be reused after return.
  void add(std::span<const NeuronRow> rows, std::span<const float> activations);
  // out is [tokens, hidden_size].
  void finish(std::span<float> out);
  // DRAM held by the buffers, and what it will be.
  uint64_t resident_bytes() const;
  static uint64_t buffer_bytes(uint32_t hidden_size, DType dtype, size_t max_tokens);

 private:
  // Adds the rows' terms to outputs [begin, end) of every token.
  void accumulate(std::span<const NeuronRow> rows, std::span<const float> activations, size_t begin, size_t end);
  // Adds the partials of outputs [begin, end) to the sums.
  void close_block(size_t begin, size_t end);

  uint32_t hidden_size_;
  DType dtype_;
  size_t width_;  // floats of a sum of hidden_size elements
  ThreadPool& pool_;
  size_t tokens_ = 0;
  ActivationRule rule_;
  std::span<const float> up_bias_;
  uint32_t block_ = 0;                     // of the last row
  bool open_ = false;                      // partial_ holds that block's sum
  std::vector<kernels::RowInput> inputs_;  // [max_tokens]
  std::vector<float> sum_;                 // [max_tokens, width_]; never -0, see begin()
  std::vector<float> partial_;             // [max_tokens, width_]
};

}  // namespace flashneuron
