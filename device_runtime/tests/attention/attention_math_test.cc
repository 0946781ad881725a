#include "attention/attention_math.h"

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/kernels.h"

namespace flashneuron {
namespace {

struct Sequence {
  uint32_t heads = 4;
  KvRow row{.kv_heads = 2, .head_size = 8};
  uint32_t rows = 150;  // over two blocks of the operator
  std::vector<float> q;
  std::vector<float> slopes;  // empty: none
  std::vector<std::byte> keys;
  std::vector<std::byte> values;

  size_t width() const { return size_t{heads} * row.head_size; }
  size_t row_bytes() const { return row.bytes(); }
};

Sequence random_sequence(KvType type) {
  Sequence sequence;
  sequence.row.type = type;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  auto draw = [&](size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
  };
  sequence.q = draw(sequence.rows * sequence.width());
  const size_t count = size_t{sequence.rows} * sequence.row.size();
  sequence.keys.resize(sequence.rows * sequence.row_bytes());
  sequence.values.resize(sequence.keys.size());
  sequence.row.store(draw(count).data(), sequence.rows, sequence.keys.data());
  sequence.row.store(draw(count).data(), sequence.rows, sequence.values.data());
  return sequence;
}

// Outputs of tokens [position, position + tokens), with every row after `position` handed over as new.
std::vector<float> attend_chunk(const Sequence& sequence, uint32_t position, uint32_t tokens) {
  const size_t offset = position * sequence.row_bytes();
  const std::vector<std::byte> keys(sequence.keys.begin(), sequence.keys.begin() + offset);
  const std::vector<std::byte> values(sequence.values.begin(), sequence.values.begin() + offset);
  const AttentionCall call{.heads = sequence.heads,
                           .row = sequence.row,
                           .tokens = tokens,
                           .position = position,
                           .q = sequence.q.data() + position * sequence.width(),
                           .slopes = sequence.slopes.empty() ? nullptr : sequence.slopes.data(),
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

// Element i of a kv head in row `index`.
double element_of(const Sequence& sequence, const std::vector<std::byte>& rows, uint32_t index, uint32_t kv_head,
                  uint32_t i) {
  const std::byte* row = rows.data() + index * sequence.row_bytes();
  std::vector<float> values(sequence.row.head_size);
  kernels::to_fp32(sequence.row.head(row, kv_head), sequence.row.element(), values.data(), values.size());
  return double{sequence.row.scale(row, kv_head)} * values[i];
}

// The definition in double: softmax(q·k + slope · row) · v over rows 0 … token.
double expected(const Sequence& sequence, uint32_t token, uint32_t head, uint32_t d) {
  const uint32_t kv_head = head / (sequence.heads / sequence.row.kv_heads);
  double sum = 0;
  double weighted = 0;
  for (uint32_t row = 0; row <= token; ++row) {
    double score = sequence.slopes.empty() ? 0.0 : double{sequence.slopes[head]} * row;
    for (uint32_t i = 0; i < sequence.row.head_size; ++i) {
      score += double{sequence.q[token * sequence.width() + head * sequence.row.head_size + i]} *
               element_of(sequence, sequence.keys, row, kv_head, i);
    }
    sum += std::exp(score);
    weighted += std::exp(score) * element_of(sequence, sequence.values, row, kv_head, d);
  }
  return weighted / sum;
}

class AttentionMath : public testing::TestWithParam<KvType> {};

void expect_the_definition(const Sequence& sequence) {
  const std::vector<float> out = attend_chunk(sequence, 0, sequence.rows);
  for (uint32_t token : {0u, 1u, 63u, 64u, 149u}) {
    for (uint32_t head = 0; head < sequence.heads; ++head) {
      for (uint32_t d = 0; d < sequence.row.head_size; ++d) {
        EXPECT_NEAR(out[token * sequence.width() + head * sequence.row.head_size + d],
                    expected(sequence, token, head, d), 2e-6);
      }
    }
  }
}

TEST_P(AttentionMath, IsSoftmaxOverThePastTimesValues) { expect_the_definition(random_sequence(GetParam())); }

TEST_P(AttentionMath, SlopesAddToTheScoresByPosition) {
  Sequence sequence = random_sequence(GetParam());
  sequence.slopes = {0.5f, 0.0f, -0.03125f, 0.2f};
  expect_the_definition(sequence);
}

TEST_P(AttentionMath, CutsOfTheTokensDoNotChangeABit) {
  Sequence sequence = random_sequence(GetParam());
  sequence.slopes = {0.25f, 0.0625f, 0.015625f, 0.00390625f};
  const std::vector<float> whole = attend_chunk(sequence, 0, sequence.rows);
  std::vector<float> cut;
  for (const auto& [position, tokens] : std::vector<std::pair<uint32_t, uint32_t>>{{0, 70}, {70, 1}, {71, 79}}) {
    const std::vector<float> part = attend_chunk(sequence, position, tokens);
    cut.insert(cut.end(), part.begin(), part.end());
  }
  EXPECT_EQ(cut, whole);
}

std::string name_of(const testing::TestParamInfo<KvType>& type) {
  return type.param == KvType::kFp32 ? "Fp32" : type.param == KvType::kFp16 ? "Fp16" : "Int8";
}

INSTANTIATE_TEST_SUITE_P(Elements, AttentionMath, testing::Values(KvType::kFp32, KvType::kFp16, KvType::kInt8),
                         name_of);

TEST(AttentionMathTest, Int8RowsStayNearFp32) {
  const Sequence exact = random_sequence(KvType::kFp32);
  const std::vector<float> near = attend_chunk(random_sequence(KvType::kInt8), 0, exact.rows);
  const std::vector<float> out = attend_chunk(exact, 0, exact.rows);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(near[i], out[i], 0.1) << i;
  EXPECT_NE(near, out);
}

TEST(AttentionMathTest, LargeScoresDoNotOverflow) {
  Sequence sequence = random_sequence(KvType::kFp32);
  for (float& q : sequence.q) q *= 300;
  for (float value : attend_chunk(sequence, 0, sequence.rows)) EXPECT_TRUE(std::isfinite(value));
}

}  // namespace
}  // namespace flashneuron
