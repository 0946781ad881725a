// A row has two uses: its activation for every token, which needs no order, and then for each output the sum of
// activation * down in row order, block by block. A block's sum is kept apart while more rows of it may come (open_),
// and added to the result once a row of a later block shows that it is whole.
//
// Both uses wait for DRAM, not for the CPU, where rows are cold: each asks for the rows that it comes to next.
#include "ffn/ffn_accumulator.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "kernels/neuron.h"

namespace flashneuron {
namespace {

constexpr size_t kMinPieceBytes = 1024;  // of each row that a thread sums: shorter ones are read slowly
constexpr size_t kMinProducts = 16384;   // the same for activations, in multiply-adds
constexpr size_t kTile = 256;            // outputs of several tokens summed at a time: one block's rows stay in L1
constexpr size_t kAheadBytes = 8192;     // how far before its use a row's line is asked for
constexpr size_t kRowsAtOnce = 2;        // that dot_rows takes together: two neurons' up rows, or one's gate and up

// The terms of one token in one block.
struct Terms {
  std::array<kernels::Term, FfnAccumulator::kBlock> items;
  size_t count = 0;

  std::span<const kernels::Term> span() const { return std::span(items).first(count); }
};

size_t block_end(std::span<const NeuronRow> rows, size_t first) {
  const uint32_t block = rows[first].neuron / FfnAccumulator::kBlock;
  while (first < rows.size() && rows[first].neuron / FfnAccumulator::kBlock == block) ++first;
  return first;
}

}  // namespace

FfnAccumulator::FfnAccumulator(uint32_t hidden_size, DType dtype, size_t max_tokens, ThreadPool& pool)
    : hidden_size_(hidden_size),
      dtype_(dtype),
      width_(kernels::arranged_floats(dtype, hidden_size)),
      pool_(pool),
      inputs_(max_tokens, kernels::RowInput(dtype, hidden_size)),
      sum_(max_tokens * width_),
      partial_(max_tokens * width_) {}

void FfnAccumulator::begin(std::span<const float> x, size_t tokens, const ActivationRule& rule,
                           std::span<const float> up_bias, std::span<const float> down_bias) {
  assert(tokens * width_ <= sum_.size() && x.size() >= tokens * hidden_size_ && down_bias.size() == hidden_size_);
  for (size_t t = 0; t < tokens; ++t) inputs_[t].set(&x[t * hidden_size_]);
  tokens_ = tokens;
  rule_ = rule;
  up_bias_ = up_bias;
  block_ = 0;
  open_ = false;
  // "+ 0" turns a bias of -0 into +0. A sum that is not -0 never becomes -0, so that adding a zero of either sign to it
  // changes nothing: a block in which nothing fires may be summed or left out.
  kernels::arrange_sum(dtype_, down_bias.data(), sum_.data(), hidden_size_);
  std::transform(sum_.begin(), sum_.begin() + width_, sum_.begin(), [](float b) { return b + 0.0f; });
  for (size_t t = 1; t < tokens; ++t) std::copy_n(sum_.begin(), width_, sum_.begin() + t * width_);
}

void FfnAccumulator::activate(std::span<const NeuronRow> rows, std::span<float> activations,
                              std::span<const uint32_t> masks) const {
  assert(activations.size() >= rows.size() * tokens_);
  assert(masks.empty() || (masks.size() == rows.size() && tokens_ <= 32));
  const auto wants = [&](size_t row, size_t token) { return masks.empty() || (masks[row] >> token & 1) != 0; };
  const size_t at_once = rule_.gated ? kRowsAtOnce / 2 : kRowsAtOnce;
  const size_t grain = std::max<size_t>(1, kMinProducts * at_once / (kRowsAtOnce * hidden_size_ * tokens_));
  const size_t ahead = std::max<size_t>(kRowsAtOnce, kAheadBytes / row_bytes(dtype_, hidden_size_));
  pool_.parallel_for(rows.size(), grain, [&](size_t begin, size_t end) {
    std::array<kernels::DotRow, kRowsAtOnce> dots;
    std::array<size_t, kRowsAtOnce> places;
    std::array<float, kRowsAtOnce> products;
    while (begin < end) {
      size_t count = 0;
      size_t neurons = 0;
      for (; begin < end && neurons < at_once; ++begin) {
        const NeuronRow& row = rows[begin];
        if (row.up == nullptr) continue;
        const NeuronRow next = begin + ahead < rows.size() ? rows[begin + ahead] : NeuronRow{};
        if (row.gate != nullptr) dots[count++] = {{row.gate, row.gate_scales}, next.gate};
        dots[count++] = {{row.up, row.up_scales}, next.up};
        places[neurons++] = begin;
      }
      for (size_t t = 0; t < tokens_; ++t) {  // the rows stay in L1
        if (std::none_of(places.begin(), places.begin() + neurons, [&](size_t place) { return wants(place, t); })) {
          for (size_t n = 0; n < neurons; ++n) activations[places[n] * tokens_ + t] = 0;
          continue;
        }
        kernels::dot_rows(std::span(dots).first(count), inputs_[t], products.data());
        const float* product = products.data();
        for (size_t n = 0; n < neurons; ++n) {
          const NeuronRow& row = rows[places[n]];
          const float gate = row.gate != nullptr ? *product++ : row.gate_product;
          const float up = *product++ + up_bias_[row.neuron];
          activations[places[n] * tokens_ + t] = wants(places[n], t) ? kernels::activation(rule_, gate, up) : 0;
        }
        for (size_t r = 0; r < count; ++r) dots[r].next = nullptr;
      }
    }
  });
}

void FfnAccumulator::multiply_gates(std::span<const NeuronRow> rows, std::span<float> products) const {
  assert(tokens_ == 1 && products.size() >= rows.size());
  const size_t grain = std::max<size_t>(1, kMinProducts / hidden_size_);
  pool_.parallel_for(rows.size(), grain, [&](size_t begin, size_t end) {
    std::vector<kernels::DotRow> dots;
    for (size_t r = begin; r < end; ++r) dots.push_back({{rows[r].gate, rows[r].gate_scales}});
    kernels::dot_rows(dots, inputs_.front(), &products[begin]);
  });
}

void FfnAccumulator::add(std::span<const NeuronRow> rows, std::span<const float> activations) {
  if (rows.empty()) return;
  assert(rows.front().neuron / kBlock >= block_ && activations.size() >= rows.size() * tokens_);
  const size_t slices = (hidden_size_ + kernels::kSumAlign - 1) / kernels::kSumAlign;
  const size_t grain = std::max<size_t>(1, kMinPieceBytes / row_bytes(dtype_, kernels::kSumAlign));
  pool_.parallel_for(slices, grain, [&](size_t begin, size_t end) {
    accumulate(rows, activations, begin * kernels::kSumAlign, std::min<size_t>(end * kernels::kSumAlign, hidden_size_));
  });
  block_ = rows.back().neuron / kBlock;
  open_ = true;
}

void FfnAccumulator::accumulate(std::span<const NeuronRow> rows, std::span<const float> activations, size_t begin,
                                size_t end) {
  const auto collect = [&](size_t first, size_t last, size_t token, Terms& terms) {
    terms.count = 0;
    for (size_t r = first; r < last; ++r) {
      const float activation = activations[r * tokens_ + token];
      if (activation == 0) continue;
      terms.items[terms.count++] = {{rows[r].down, rows[r].down_scales}, activation};
    }
  };
  const size_t tile = tokens_ == 1 ? end - begin : kTile;
  Terms terms;
  Terms next;
  for (; begin < end; begin += tile) {
    const size_t tile_end = std::min(begin + tile, end);
    bool open = open_;
    if (open && rows.front().neuron / kBlock != block_) {
      close_block(begin, tile_end);
      open = false;
    }
    if (tokens_ == 1) collect(0, block_end(rows, 0), 0, next);
    for (size_t first = 0, last = 0; first < rows.size(); first = last) {
      last = block_end(rows, first);
      const bool whole = last < rows.size();
      for (size_t t = 0; t < tokens_; ++t) {
        if (tokens_ == 1) {
          std::swap(terms, next);
          next.count = 0;
          if (whole) collect(last, block_end(rows, last), 0, next);
        } else {
          collect(first, last, t, terms);
        }
        kernels::sum_block({.terms = terms.span(),
                            .next = next.span(),
                            .open = open,
                            .partial = &partial_[t * width_],
                            .sum = whole ? &sum_[t * width_] : nullptr},
                           dtype_, begin, tile_end);
      }
      open = false;
    }
  }
}

void FfnAccumulator::close_block(size_t begin, size_t end) {
  for (size_t t = 0; t < tokens_; ++t) {
    kernels::sum_block(
        {.terms = {}, .next = {}, .open = true, .partial = &partial_[t * width_], .sum = &sum_[t * width_]}, dtype_,
        begin, end);
  }
}

void FfnAccumulator::finish(std::span<float> out) {
  assert(out.size() >= tokens_ * hidden_size_);
  if (open_) close_block(0, hidden_size_);
  open_ = false;
  for (size_t t = 0; t < tokens_; ++t) {
    kernels::restore_sum(dtype_, &sum_[t * width_], &out[t * hidden_size_], hidden_size_);
  }
}

uint64_t FfnAccumulator::resident_bytes() const { return buffer_bytes(hidden_size_, dtype_, inputs_.size()); }

uint64_t FfnAccumulator::buffer_bytes(uint32_t hidden_size, DType dtype, size_t max_tokens) {
  const uint64_t sums = 2 * sizeof(float) * kernels::arranged_floats(dtype, hidden_size);
  return max_tokens * (sums + kernels::RowInput::buffer_bytes(dtype, hidden_size));
}

}  // namespace flashneuron
