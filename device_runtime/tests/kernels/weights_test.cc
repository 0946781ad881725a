// Rows of weights with their scales, against the scalar reference and against sums in double, on every instruction set
// that this machine has.
#include "kernels/weights.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "kernels/fp16.h"
#include "support/bits.h"
#include "support/package_files.h"
#include "support/random.h"

namespace flashneuron::kernels {
namespace {

using testing::Bytes;
using testing::Random;
using testing::same_bits;

constexpr size_t kCounts[] = {1, 2, 7, 8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 255, 256, 700, 2049, 4096, 4099};

// Random rows at odd addresses, right before memory that is not theirs.
struct Rows {
  Rows(size_t rows, size_t row_elements, DType type, Random& random) : count(row_elements), dtype(type) {
    for (size_t r = 0; r < rows; ++r) {
      stored.push_back(testing::stored_row(random.uniforms(count, -2.0f, 2.0f), dtype));
      stored.back().values.insert(stored.back().values.begin(), 1 + random.below(5), std::byte{0xFF});
      stored.back().scales.insert(stored.back().scales.begin(), 1, std::byte{0xFF});
    }
  }
  WeightRow row(size_t r) const {
    const Bytes& values = stored[r].values;
    return {values.data() + values.size() - row_bytes(dtype, count), stored[r].scales.data() + 1};
  }

  size_t count;
  DType dtype;
  std::vector<testing::StoredRow> stored;
};

std::vector<float> restored(const std::vector<float>& sum, DType dtype, size_t count) {
  std::vector<float> values(count);
  restore_sum(dtype, sum.data(), values.data(), count);
  return values;
}

class Weights : public ::testing::TestWithParam<std::tuple<int64_t, DType>> {
 protected:
  Weights() { hwy::SetSupportedTargetsForTest(std::get<0>(GetParam())); }
  ~Weights() override { hwy::SetSupportedTargetsForTest(0); }
  DType dtype() const { return std::get<1>(GetParam()); }
  Random random_{17};
};

TEST_P(Weights, DotEqualsTheReferenceToTheBit) {
  for (const size_t count : kCounts) {
    const Rows rows(5, count, dtype(), random_);
    const std::vector<float> x = random_.uniforms(count, -3.0f, 3.0f);
    RowInput input(dtype(), count);
    input.set(x.data());
    std::vector<DotRow> dots;
    for (size_t r = 0; r < 5; ++r) dots.push_back({rows.row(r), r % 2 == 0 ? rows.row(0).values : nullptr});
    std::vector<float> together(5);
    dot_rows(dots, input, together.data());
    for (size_t r = 0; r < 5; ++r) {
      const float expected = reference::dot_row(rows.row(r), input);
      const float alone = dot_row(rows.row(r), input);
      EXPECT_EQ(std::bit_cast<uint32_t>(alone), std::bit_cast<uint32_t>(expected)) << count;
      EXPECT_EQ(std::bit_cast<uint32_t>(together[r]), std::bit_cast<uint32_t>(expected)) << count;
    }
  }
}

TEST_P(Weights, DotIsCloseToTheSumInDouble) {
  for (const size_t count : kCounts) {
    const Rows rows(1, count, dtype(), random_);
    const std::vector<float> x = random_.uniforms(count, -3.0f, 3.0f);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += static_cast<double>(rows.stored[0].decoded[i]) * x[i];
    RowInput input(dtype(), count);
    input.set(x.data());
    // Integer inputs are off by half a step of 3 / 32767 each, times weights below 2.
    const double rounding = has_scales(dtype()) ? 1e-4 : 2e-6;
    EXPECT_NEAR(dot_row(rows.row(0), input), sum, rounding * (10 + std::sqrt(static_cast<double>(count)))) << count;
  }
}

TEST(RowInputRounding, EqualsTheReferenceAndReachesTheLargestInteger) {
  Random random(7);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const size_t count : kCounts) {
      const std::vector<float> x = random.uniforms(count, -3.0f, 2.0f);
      std::vector<int16_t> expected(count);
      RowInput input(DType::kInt8, count);
      input.set(x.data());
      EXPECT_EQ(input.scale(), reference::round_input(x.data(), expected.data(), count));
      EXPECT_EQ(std::vector(input.integers(), input.integers() + count), expected);
      const auto [least, most] = std::minmax_element(expected.begin(), expected.end());
      EXPECT_EQ(std::max(-*least, +*most), 32767);
      for (size_t i = 0; i < count; ++i) EXPECT_NEAR(input.scale() * static_cast<float>(expected[i]), x[i], 5e-5);
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST_P(Weights, DotOfZerosIsZeroAndOfExtremesDoesNotOverflow) {
  const size_t count = 20000;
  RowInput input(dtype(), count);
  const std::vector<float> zeros(count);
  const Rows rows(1, count, dtype(), random_);
  input.set(zeros.data());
  EXPECT_EQ(dot_row(rows.row(0), input), 0.0f);
  const std::vector<float> ones(count, 1.0f);
  Rows largest(1, 0, dtype(), random_);
  largest.count = count;
  largest.stored = {testing::stored_row(std::vector<float>(count, -1.5f), dtype())};
  largest.stored[0].scales.insert(largest.stored[0].scales.begin(), 1, std::byte{0xFF});
  input.set(ones.data());
  EXPECT_NEAR(dot_row(largest.row(0), input), -30000.0f, 30.0f);
}

// A block of `terms` rows cut into calls at random, over outputs cut at random.
TEST_P(Weights, BlockSumEqualsTheReferenceHoweverItIsCut) {
  for (const size_t count : kCounts) {
    for (const size_t rows_of_block : {0, 1, 3, 64, 256}) {
      const Rows rows(rows_of_block, count, dtype(), random_);
      std::vector<Term> terms;
      for (size_t r = 0; r < rows_of_block; ++r) terms.push_back({rows.row(r), random_.uniform(-1.0f, 2.0f)});
      std::vector<float> start(arranged_floats(dtype(), count));
      arrange_sum(dtype(), random_.uniforms(count, -1.0f, 1.0f).data(), start.data(), count);

      std::vector<float> expected = start;
      std::vector<float> unused(start.size(), NAN);
      reference::sum_block({.terms = terms, .next = {}, .partial = unused.data(), .sum = expected.data()}, dtype(), 0,
                           count);
      for (int repeat = 0; repeat < 4; ++repeat) {
        const size_t first = random_.below(rows_of_block + 1);
        const size_t cut = count <= kSumAlign ? count : kSumAlign * (1 + random_.below((count - 1) / kSumAlign));
        std::vector<float> got = start;
        std::vector<float> partial(start.size(), NAN);
        const std::span<const Term> all(terms);
        for (const auto& [begin, end] : {std::pair{size_t{0}, cut}, std::pair{cut, count}}) {
          sum_block({.terms = all.first(first), .next = all, .partial = partial.data()}, dtype(), begin, end);
          sum_block(
              {.terms = all.subspan(first), .next = {}, .open = true, .partial = partial.data(), .sum = got.data()},
              dtype(), begin, end);
        }
        EXPECT_TRUE(same_bits(restored(got, dtype(), count), restored(expected, dtype(), count)))
            << count << " outputs, " << rows_of_block << " rows, cut at " << cut;
      }
    }
  }
}

TEST_P(Weights, BlockSumIsCloseToTheSumInDouble) {
  for (const size_t count : kCounts) {
    const Rows rows(30, count, dtype(), random_);
    std::vector<double> expected(count);
    std::vector<Term> terms;
    for (size_t r = 0; r < 30; ++r) {
      terms.push_back({rows.row(r), random_.uniform(0.0f, 2.0f)});
      for (size_t i = 0; i < count; ++i) {
        expected[i] += static_cast<double>(terms.back().factor) * rows.stored[r].decoded[i];
      }
    }
    std::vector<float> sum(arranged_floats(dtype(), count));
    std::vector<float> partial(sum.size(), NAN);
    sum_block({.terms = terms, .next = {}, .partial = partial.data(), .sum = sum.data()}, dtype(), 0, count);
    const std::vector<float> got = restored(sum, dtype(), count);
    for (size_t i = 0; i < count; ++i) ASSERT_NEAR(got[i], expected[i], 5e-5) << i << " of " << count;
  }
}

INSTANTIATE_TEST_SUITE_P(, Weights,
                         ::testing::Combine(::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                                            ::testing::Values(DType::kFp32, DType::kFp16, DType::kBf16, DType::kInt8,
                                                              DType::kInt4)));

}  // namespace
}  // namespace flashneuron::kernels
