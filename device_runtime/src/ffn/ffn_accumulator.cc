// A row has two uses: its activation for every token, which needs no order, and then for each output the sum of
// activation * down in row order. Adding a partial of zeros changes no bit (see begin()), so blocks in which nothing
// fires, and calls that end inside a block, need no bookkeeping but the number of the open block.
#include "ffn/ffn_accumulator.h"

#include <algorithm>
#include <cassert>

#include "kernels/kernels.h"
#include "kernels/neuron.h"

namespace flashneuron {
namespace {

constexpr size_t kLine = 16;            // floats of a cache line: threads never share one
constexpr size_t kMinOutputs = 256;     // a smaller share of the outputs is not worth a thread
constexpr size_t kMinProducts = 16384;  // the same for activations, in multiply-adds
constexpr size_t kTile = 256;           // outputs of several tokens summed at a time: one block's rows stay in L1

}  // namespace

FfnAccumulator::FfnAccumulator(uint32_t hidden_size, DType dtype, size_t max_tokens, ThreadPool& pool)
    : hidden_size_(hidden_size),
      dtype_(dtype),
      pool_(pool),
      sum_(max_tokens * hidden_size),
      partial_(max_tokens * hidden_size) {}

void FfnAccumulator::begin(std::span<const float> x, size_t tokens, std::span<const float> up_bias,
                           std::span<const float> down_bias) {
  assert(tokens * hidden_size_ <= sum_.size() && x.size() >= tokens * hidden_size_ && down_bias.size() == hidden_size_);
  x_ = x;
  tokens_ = tokens;
  up_bias_ = up_bias;
  down_bias_ = down_bias;
  block_ = 0;
  // "+ 0" turns a bias of -0 into +0. A sum that is not -0 never becomes -0, so that adding a zero of either sign to it
  // changes nothing.
  for (size_t t = 0; t < tokens; ++t) {
    std::transform(down_bias.begin(), down_bias.end(), sum_.begin() + t * hidden_size_,
                   [](float b) { return b + 0.0f; });
  }
  std::fill_n(partial_.begin(), tokens * hidden_size_, 0.0f);
}

void FfnAccumulator::add(std::span<const NeuronRow> rows, std::span<const float> activations) {
  if (rows.empty()) return;
  assert(rows.front().neuron / kBlock >= block_ && activations.size() >= rows.size() * tokens_);
  const size_t lines = (hidden_size_ + kLine - 1) / kLine;
  pool_.parallel_for(lines, kMinOutputs / kLine, [&](size_t begin, size_t end) {
    accumulate(rows, activations, begin * kLine, std::min<size_t>(end * kLine, hidden_size_));
  });
  block_ = rows.back().neuron / kBlock;
}

void FfnAccumulator::activate(std::span<const NeuronRow> rows, std::span<float> activations) const {
  assert(activations.size() >= rows.size() * tokens_);
  const size_t grain = std::max<size_t>(1, kMinProducts / hidden_size_);
  pool_.parallel_for(rows.size() * tokens_, grain, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {  // tokens innermost: the row stays in L1
      const NeuronRow& row = rows[i / tokens_];
      if (row.up == nullptr) continue;
      const float* x = x_.data() + i % tokens_ * hidden_size_;
      activations[i] = kernels::relu_activation(row.up, dtype_, x, hidden_size_, up_bias_[row.neuron]);
    }
  });
}

void FfnAccumulator::accumulate(std::span<const NeuronRow> rows, std::span<const float> activations, size_t begin,
                                size_t end) {
  const size_t tile = tokens_ == 1 ? end - begin : kTile;
  for (; begin < end; begin += tile) {
    const size_t count = std::min(tile, end - begin);
    uint32_t block = block_;
    for (size_t first = 0, last = 0; first < rows.size(); first = last) {
      const uint32_t next_block = rows[first].neuron / kBlock;
      while (last < rows.size() && rows[last].neuron / kBlock == next_block) ++last;
      if (next_block != block) close_block(begin, begin + count);
      block = next_block;
      for (size_t t = 0; t < tokens_; ++t) {
        for (size_t r = first; r < last; ++r) {
          const float activation = activations[r * tokens_ + t];
          if (activation == 0) continue;
          const std::byte* down = rows[r].down + row_bytes(dtype_, begin);
          kernels::axpy(activation, down, dtype_, &partial_[t * hidden_size_ + begin], count);
        }
      }
    }
  }
}

void FfnAccumulator::close_block(size_t begin, size_t end) {
  for (size_t t = 0; t < tokens_; ++t) {
    float* partial = &partial_[t * hidden_size_ + begin];
    kernels::add(partial, &sum_[t * hidden_size_ + begin], end - begin);
    std::fill_n(partial, end - begin, 0.0f);
  }
}

void FfnAccumulator::finish(std::span<float> out) {
  assert(out.size() >= tokens_ * hidden_size_);
  close_block(0, hidden_size_);
  std::copy_n(sum_.begin(), tokens_ * hidden_size_, out.begin());
}

uint64_t FfnAccumulator::resident_bytes() const { return sizeof(float) * (sum_.capacity() + partial_.capacity()); }

}  // namespace flashneuron
