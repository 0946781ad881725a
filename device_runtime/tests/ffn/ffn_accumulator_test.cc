#include "ffn/ffn_accumulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/weights.h"
#include "support/bits.h"
#include "support/package_files.h"
#include "support/random.h"
#include "support/rules.h"

namespace flashneuron {
namespace {

using testing::Random;
using testing::same_bits;

void add(FfnAccumulator& accumulator, std::span<const NeuronRow> rows, size_t tokens) {
  std::vector<float> activations(rows.size() * tokens);
  accumulator.activate(rows, activations);
  accumulator.add(rows, activations);
}

// One layer with its inputs. Rows lie in memory at odd distances, so that hardly any is aligned to a vector.
struct Case {
  Case(uint32_t d, uint32_t f, DType type, size_t token_count, Random& random, const ActivationRule& rule_ = {})
      : hidden(d), ffn(f), dtype(type), tokens(token_count), rule(rule_) {
    const float scale = std::sqrt(3.0f / static_cast<float>(d));
    if (rule.gated) gate = random.uniforms(size_t{f} * d, -scale, scale);
    up = random.uniforms(size_t{f} * d, -scale, scale);
    down = random.uniforms(size_t{f} * d, -1.0f, 1.0f);
    up_bias = random.uniforms(f, -1.0f, 0.2f);
    down_bias = random.uniforms(d, -1.0f, 1.0f);
    down_bias[0] = -0.0f;
    x = random.uniforms(tokens * d, -1.7f, 1.7f);
    memory.resize(3 * f * (row_bytes(dtype, d) + scale_bytes(dtype, d) + 2) + 1);
    std::byte* next = memory.data() + 1;
    const auto copy = [&](const testing::Bytes& bytes) {
      const std::byte* placed = next;
      next = std::copy(bytes.begin(), bytes.end(), next);
      return placed;
    };
    const auto place = [&](std::vector<float>& matrix, uint32_t n) {
      const std::span<float> row = std::span(matrix).subspan(size_t{n} * d, d);
      const testing::StoredRow stored = testing::stored_row(row, dtype);
      std::copy(stored.decoded.begin(), stored.decoded.end(), row.begin());
      next += 2;
      const std::byte* values = copy(stored.values);
      return kernels::WeightRow{values, copy(stored.scales)};
    };
    for (uint32_t n = 0; n < f; ++n) {
      const kernels::WeightRow placed_up = place(up, n);
      const kernels::WeightRow placed_down = place(down, n);
      rows.push_back({n, placed_up.values, placed_down.values, placed_up.scales, placed_down.scales});
      if (!rule.gated) continue;
      const kernels::WeightRow placed_gate = place(gate, n);
      rows.back().gate = placed_gate.values;
      rows.back().gate_scales = placed_gate.scales;
    }
  }

  float activation(uint32_t n, size_t t) const {
    kernels::RowInput input(dtype, hidden);
    input.set(&x[t * hidden]);
    const float of_up = kernels::reference::dot_row({rows[n].up, rows[n].up_scales}, input);
    const float of_gate = rule.gated ? kernels::reference::dot_row({rows[n].gate, rows[n].gate_scales}, input) : 0.0f;
    return testing::hidden_value(rule, of_gate, of_up + up_bias[n]);
  }
  bool fires(uint32_t n) const {
    for (size_t t = 0; t < tokens; ++t) {
      if (activation(n, t) != 0) return true;
    }
    return false;
  }

  uint32_t hidden, ffn;
  DType dtype;
  size_t tokens;
  ActivationRule rule;
  std::vector<float> gate, up, down, up_bias, down_bias, x;
  std::vector<std::byte> memory;
  std::vector<NeuronRow> rows;
};

// `rows` in calls that end at `cuts` (ascending).
std::vector<float> run(const Case& c, std::span<const NeuronRow> rows, std::vector<size_t> cuts, int threads) {
  ThreadPool pool(threads);
  FfnAccumulator accumulator(c.hidden, c.dtype, c.tokens, pool);
  accumulator.begin(c.x, c.tokens, c.rule, c.up_bias, c.down_bias);
  cuts.push_back(rows.size());
  size_t start = 0;
  for (const size_t cut : cuts) {
    add(accumulator, rows.subspan(start, cut - start), c.tokens);
    start = cut;
  }
  std::vector<float> out(c.tokens * c.hidden);
  accumulator.finish(out);
  return out;
}

std::vector<float> run(const Case& c) { return run(c, c.rows, {}, 1); }

// The sum as the header promises it, block by block, in scalars.
std::vector<float> by_contract(const Case& c) {
  std::vector<float> out(c.tokens * c.hidden);
  std::vector<float> sum(kernels::arranged_floats(c.dtype, c.hidden));
  for (size_t t = 0; t < c.tokens; ++t) {
    std::vector<float> activation(c.ffn);
    for (uint32_t n = 0; n < c.ffn; ++n) activation[n] = c.activation(n, t);
    std::vector<float> bias = c.down_bias;
    for (float& value : bias) value += 0.0f;
    kernels::arrange_sum(c.dtype, bias.data(), sum.data(), c.hidden);
    for (uint32_t block = 0; block < c.ffn; block += FfnAccumulator::kBlock) {
      std::vector<kernels::Term> terms;
      for (uint32_t n = block; n < std::min(block + FfnAccumulator::kBlock, c.ffn); ++n) {
        if (activation[n] != 0) terms.push_back({{c.rows[n].down, c.rows[n].down_scales}, activation[n]});
      }
      kernels::reference::sum_block({.terms = terms, .next = {}, .sum = sum.data()}, c.dtype, 0, c.hidden);
    }
    kernels::restore_sum(c.dtype, sum.data(), &out[t * c.hidden], c.hidden);
  }
  return out;
}

std::vector<Case> cases() {
  Random random(9);
  std::vector<Case> result;
  for (const DType dtype : {DType::kFp32, DType::kFp16, DType::kBf16, DType::kInt8, DType::kInt4}) {
    result.emplace_back(256, 300, dtype, 3, random);
    result.emplace_back(1043, 70, dtype, 5, random);
    for (const ActivationRule& rule : testing::kRules) {
      result.emplace_back(40, 300, dtype, 1, random, rule);
      result.emplace_back(1043, 130, dtype, 1, random, rule);
      result.emplace_back(130, 70, dtype, 3, random, rule);
      result.emplace_back(1, 65, dtype, 1, random, rule);
    }
  }
  return result;
}

TEST(FfnAccumulator, SumsInTheOrderOfItsContract) {
  for (const Case& c : cases()) EXPECT_TRUE(same_bits(run(c), by_contract(c))) << c.hidden << " x " << c.ffn;
}

TEST(FfnAccumulator, IsCloseToTheSumInDouble) {
  for (const Case& c : cases()) {
    const std::vector<float> got = run(c);
    for (size_t t = 0; t < c.tokens; ++t) {
      std::vector<double> expected(c.down_bias.begin(), c.down_bias.end());
      for (uint32_t n = 0; n < c.ffn; ++n) {
        const auto product = [&](const std::vector<float>& matrix) {
          double sum = 0;
          for (size_t i = 0; i < c.hidden; ++i) sum += double{matrix[size_t{n} * c.hidden + i]} * c.x[t * c.hidden + i];
          return sum;
        };
        const double up = product(c.up) + c.up_bias[n];
        const double gate = c.rule.gated ? product(c.gate) : 0;
        const double silu = gate / (1 + std::exp(-gate));
        // At its threshold a neuron jumps: rounding decides which side it is on, so the FFN's own test is asked.
        const double h = !c.rule.gated                            ? std::max(up, 0.0)
                         : c.activation(n, t) == 0                ? 0
                         : c.rule.activation == Activation::kSilu ? silu * up
                                                                  : gate * up;
        for (size_t i = 0; i < c.hidden; ++i) expected[i] += h * c.down[size_t{n} * c.hidden + i];
      }
      const double tolerance = has_scales(c.dtype) ? 1e-3 : 1e-4;  // inputs of integer rows are rounded to 16 bits
      for (size_t i = 0; i < c.hidden; ++i) ASSERT_NEAR(got[t * c.hidden + i], expected[i], tolerance);
    }
  }
}

TEST(FfnAccumulator, BitsDoNotDependOnCutsOrThreads) {
  Random random(10);
  for (const Case& c : cases()) {
    const std::vector<float> expected = run(c);
    for (int repeat = 0; repeat < 8; ++repeat) {
      std::vector<size_t> cuts(random.below(7));
      for (size_t& cut : cuts) cut = random.below(c.ffn + 1);
      std::sort(cuts.begin(), cuts.end());
      const int threads = 1 + static_cast<int>(random.below(5));
      EXPECT_TRUE(same_bits(run(c, c.rows, cuts, threads), expected)) << c.hidden << ", " << threads << " threads";
    }
  }
}

TEST(FfnAccumulator, SilentNeuronsMayBeLeftOut) {
  Random random(11);
  for (const Case& c : cases()) {
    const std::vector<float> expected = run(c);
    size_t fewest = c.ffn;
    for (const uint64_t keep_one_of : {1000000, 2}) {  // none of the silent ones, then about half of them
      std::vector<NeuronRow> rows;
      for (const NeuronRow& row : c.rows) {
        if (c.fires(row.neuron) || random.below(keep_one_of) == 0) rows.push_back(row);
      }
      fewest = std::min(fewest, rows.size());
      EXPECT_TRUE(same_bits(run(c, rows, {rows.size() / 2}, 2), expected)) << c.hidden << " x " << c.ffn;
    }
    EXPECT_LT(fewest, c.ffn) << "no neuron is silent: the case tests nothing";
  }
}

TEST(FfnAccumulator, TokensDoNotTouchEachOther) {
  Random random(12);
  const Case c(256, 200, DType::kFp16, 6, random);
  const std::vector<float> together = run(c, c.rows, {50}, 3);
  for (size_t t = 0; t < c.tokens; ++t) {
    Case alone = c;
    alone.tokens = 1;
    alone.x.assign(c.x.begin() + t * c.hidden, c.x.begin() + (t + 1) * c.hidden);
    const std::vector<float> expected(together.begin() + t * c.hidden, together.begin() + (t + 1) * c.hidden);
    EXPECT_TRUE(same_bits(run(alone, c.rows, {}, 1), expected)) << "token " << t;
  }
}

TEST(FfnAccumulator, RowsMayBeOverwrittenAfterAddAndBeginStartsOver) {
  Random random(13);
  const Case c(64, 128, DType::kFp16, 1, random);
  ThreadPool pool(2);
  FfnAccumulator accumulator(c.hidden, c.dtype, 1, pool);
  accumulator.begin(c.x, 1, c.rule, c.up_bias, c.down_bias);
  add(accumulator, std::span(c.rows).subspan(70, 1), 1);  // abandoned by the next begin()
  accumulator.begin(c.x, 1, c.rule, c.up_bias, c.down_bias);
  const size_t bytes = row_bytes(c.dtype, c.hidden);
  std::vector<std::byte> slot(2 * bytes);
  for (const NeuronRow& row : c.rows) {
    std::memcpy(slot.data(), row.up, bytes);
    std::memcpy(slot.data() + bytes, row.down, bytes);
    NeuronRow copy = row;
    copy.up = slot.data();
    copy.down = slot.data() + bytes;
    add(accumulator, {&copy, 1}, 1);
    std::fill(slot.begin(), slot.end(), std::byte{0xFF});
  }
  std::vector<float> out(c.hidden);
  accumulator.finish(out);
  EXPECT_TRUE(same_bits(out, run(c)));
}

TEST(FfnAccumulator, WithoutRowsItGivesTheBias) {
  Random random(14);
  const Case c(40, 10, DType::kFp32, 2, random);
  const std::vector<float> out = run(c, {}, {}, 1);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], c.down_bias[i % c.hidden]);
}

TEST(FfnAccumulator, ReportsItsBuffers) {
  ThreadPool pool(1);
  for (const DType dtype : {DType::kFp16, DType::kInt8, DType::kInt4}) {
    EXPECT_EQ(FfnAccumulator(100, dtype, 3, pool).resident_bytes(), FfnAccumulator::buffer_bytes(100, dtype, 3));
  }
  EXPECT_EQ(FfnAccumulator(100, DType::kFp16, 3, pool).resident_bytes(), 4u * 2 * 3 * 100);
}

}  // namespace
}  // namespace flashneuron
