#include "attention/attention_math.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/kernels.h"

namespace flashneuron {
namespace {

struct Sequence {
  uint32_t heads = 4;
  uint32_t kv_heads = 2;
  uint32_t head_size = 8;
  uint32_t rows = 150;  // over two blocks of the operator
  DType element = DType::kFp32;
  std::vector<float> q;
  std::vector<std::byte> keys;
  std::vector<std::byte> values;

  size_t width() const { return size_t{heads} * head_size; }
  size_t row_bytes() const { return size_t{kv_heads} * head_size * element_bytes(element); }
};

Sequence random_sequence(DType element) {
  Sequence sequence;
  sequence.element = element;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  auto draw = [&](size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
  };
  sequence.q = draw(sequence.rows * sequence.width());
  const size_t count = size_t{sequence.rows} * sequence.kv_heads * sequence.head_size;
  sequence.keys.resize(sequence.rows * sequence.row_bytes());
  sequence.values.resize(sequence.keys.size());
  kernels::from_fp32(draw(count).data(), element, sequence.keys.data(), count);
  kernels::from_fp32(draw(count).data(), element, sequence.values.data(), count);
  return sequence;
}

// Outputs of tokens [position, position + tokens), with every row after `position` handed over as new.
std::vector<float> attend_chunk(const Sequence& sequence, uint32_t position, uint32_t tokens) {
  const size_t offset = position * sequence.row_bytes();
  const std::vector<std::byte> keys(sequence.keys.begin(), sequence.keys.begin() + offset);
  const std::vector<std::byte> values(sequence.values.begin(), sequence.values.begin() + offset);
  const AttentionCall call{.heads = sequence.heads,
                           .kv_heads = sequence.kv_heads,
                           .head_size = sequence.head_size,
                           .tokens = tokens,
                           .position = position,
                           .element = sequence.element,
                           .q = sequence.q.data() + position * sequence.width(),
                           .keys = keys.data(),
                           .values = values.data(),
                           .new_keys = sequence.keys.data() + offset,
                           .new_values = sequence.values.data() + offset};
  std::vector<float> out(tokens * sequence.width());
  const size_t pairs = size_t{tokens} * sequence.heads;
  attend(call, 0, pairs / 3, out.data());
  attend(call, pairs / 3, pairs, out.data());
  return out;
}

// The definition in double: softmax(q·k) · v over rows 0 … token.
double expected(const Sequence& sequence, uint32_t token, uint32_t head, uint32_t d) {
  const uint32_t kv_head = head / (sequence.heads / sequence.kv_heads);
  const size_t width = size_t{sequence.kv_heads} * sequence.head_size;
  std::vector<float> keys(width * sequence.rows);
  std::vector<float> values(keys.size());
  kernels::to_fp32(sequence.keys.data(), sequence.element, keys.data(), keys.size());
  kernels::to_fp32(sequence.values.data(), sequence.element, values.data(), values.size());
  double sum = 0;
  double weighted = 0;
  for (uint32_t row = 0; row <= token; ++row) {
    double score = 0;
    for (uint32_t i = 0; i < sequence.head_size; ++i) {
      score += double{sequence.q[token * sequence.width() + head * sequence.head_size + i]} *
               keys[row * width + kv_head * sequence.head_size + i];
    }
    sum += std::exp(score);
    weighted += std::exp(score) * values[row * width + kv_head * sequence.head_size + d];
  }
  return weighted / sum;
}

class AttentionMath : public testing::TestWithParam<DType> {};

TEST_P(AttentionMath, IsSoftmaxOverThePastTimesValues) {
  const Sequence sequence = random_sequence(GetParam());
  const std::vector<float> out = attend_chunk(sequence, 0, sequence.rows);
  for (uint32_t token : {0u, 1u, 63u, 64u, 149u}) {
    for (uint32_t head = 0; head < sequence.heads; ++head) {
      for (uint32_t d = 0; d < sequence.head_size; ++d) {
        EXPECT_NEAR(out[token * sequence.width() + head * sequence.head_size + d], expected(sequence, token, head, d),
                    2e-6);
      }
    }
  }
}

TEST_P(AttentionMath, CutsOfTheTokensDoNotChangeABit) {
  const Sequence sequence = random_sequence(GetParam());
  const std::vector<float> whole = attend_chunk(sequence, 0, sequence.rows);
  std::vector<float> cut;
  for (const auto& [position, tokens] : std::vector<std::pair<uint32_t, uint32_t>>{{0, 70}, {70, 1}, {71, 79}}) {
    const std::vector<float> part = attend_chunk(sequence, position, tokens);
    cut.insert(cut.end(), part.begin(), part.end());
  }
  EXPECT_EQ(cut, whole);
}

INSTANTIATE_TEST_SUITE_P(Elements, AttentionMath, testing::Values(DType::kFp32, DType::kFp16),
                         [](const auto& element) { return element.param == DType::kFp32 ? "Fp32" : "Fp16"; });

TEST(AttentionMathTest, LargeScoresDoNotOverflow) {
  Sequence sequence = random_sequence(DType::kFp32);
  for (float& q : sequence.q) q *= 300;
  for (float value : attend_chunk(sequence, 0, sequence.rows)) EXPECT_TRUE(std::isfinite(value));
}

}  // namespace
}  // namespace flashneuron
