// Every vector kernel against its scalar reference, on every instruction set that this machine has: equal to the bit,
// for any length and any address.
#include "kernels/kernels.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "support/package_files.h"
#include "support/random.h"

namespace flashneuron::kernels {
namespace {

using testing::Bytes;
using testing::Random;

constexpr size_t kCounts[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 256, 257, 1000, 4099};

enum class Values { kOrdinary, kTiny, kHuge, kMixed };

// tiny: subnormals of fp32 and of fp16, products that underflow; huge: sums that overflow.
float value_of(Values values, Random& random) {
  switch (values) {
    case Values::kOrdinary:
      return random.uniform(-2.0f, 2.0f);
    case Values::kTiny:
      return std::ldexp(random.uniform(-1.0f, 1.0f), -static_cast<int>(random.below(149)));
    case Values::kHuge:
      return std::ldexp(random.uniform(-1.0f, 1.0f), static_cast<int>(random.below(16)) + 60);
    case Values::kMixed:
      return random.below(3) == 0 ? 0.0f
                                  : std::ldexp(random.uniform(-1.0f, 1.0f), static_cast<int>(random.below(60)) - 40);
  }
  return 0;
}

std::vector<float> values_of(Values values, size_t count, Random& random) {
  std::vector<float> result(count);
  for (float& value : result) value = value_of(values, random);
  return result;
}

// The row at `offset` bytes past an aligned address.
struct Row {
  Row(const std::vector<float>& values, DType dtype, size_t offset) : bytes(testing::elements(values, dtype)) {
    bytes.insert(bytes.begin(), offset, std::byte{0xFF});
    data = bytes.data() + offset;
  }
  Bytes bytes;
  const std::byte* data;
};

std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  if (!values.empty()) std::memcpy(bits.data(), values.data(), 4 * values.size());
  return bits;
}

class Kernels : public ::testing::TestWithParam<std::tuple<int64_t, DType, Values>> {
 protected:
  Kernels() { hwy::SetSupportedTargetsForTest(std::get<0>(GetParam())); }
  ~Kernels() override { hwy::SetSupportedTargetsForTest(0); }
  DType dtype() const { return std::get<1>(GetParam()); }
  Values kind() const { return std::get<2>(GetParam()); }
  Random random_{42};
};

TEST_P(Kernels, DotEqualsTheReferenceToTheBit) {
  for (const size_t count : kCounts) {
    const auto weights = values_of(kind(), count, random_);
    const auto x = values_of(kind(), count, random_);
    const Row aligned(weights, dtype(), 0);
    const uint32_t expected = std::bit_cast<uint32_t>(reference::dot(aligned.data, dtype(), x.data(), count));
    for (const size_t offset : {0, 1, 2, 4, 6, 31, 63}) {
      const Row row(weights, dtype(), offset);
      const float got = dot(row.data, dtype(), x.data(), count);
      if (std::isnan(std::bit_cast<float>(expected))) {
        EXPECT_TRUE(std::isnan(got));  // which of two NaNs survives an addition is the CPU's choice
      } else {
        EXPECT_EQ(std::bit_cast<uint32_t>(got), expected) << count << " elements at offset " << offset;
      }
    }
  }
}

TEST_P(Kernels, AxpyEqualsTheReferenceToTheBitAndWritesNothingElse) {
  for (const size_t count : kCounts) {
    const auto weights = values_of(kind(), count, random_);
    const auto start = values_of(kind(), count + 2, random_);
    const float scale = value_of(kind(), random_);
    for (const size_t offset : {0, 1, 2, 4, 6, 31, 63}) {
      const Row row(weights, dtype(), offset);
      auto expected = start;
      auto got = start;
      reference::axpy(scale, row.data, dtype(), expected.data() + 1, count);
      axpy(scale, row.data, dtype(), got.data() + 1, count);
      EXPECT_EQ(bits_of(got), bits_of(expected)) << count << " elements at offset " << offset;
    }
  }
}

TEST_P(Kernels, AxpyMayBeSplitAnywhere) {
  const size_t count = 300;
  const Row row(values_of(kind(), count, random_), dtype(), 0);
  const auto start = values_of(kind(), count, random_);
  const float scale = value_of(kind(), random_);
  auto whole = start;
  axpy(scale, row.data, dtype(), whole.data(), count);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const size_t cut = random_.below(count + 1);
    auto parts = start;
    axpy(scale, row.data, dtype(), parts.data(), cut);
    axpy(scale, row.data + cut * element_bytes(dtype()), dtype(), parts.data() + cut, count - cut);
    EXPECT_EQ(bits_of(parts), bits_of(whole)) << cut;
  }
}

TEST_P(Kernels, ConversionsEqualTheReferenceToTheBit) {
  for (const size_t count : kCounts) {
    const auto values = values_of(kind(), count, random_);
    Bytes expected(count * element_bytes(dtype()) + 1, std::byte{7});
    Bytes got = expected;
    reference::from_fp32(values.data(), dtype(), expected.data(), count);
    from_fp32(values.data(), dtype(), got.data(), count);
    EXPECT_EQ(got, expected);
    std::vector<float> back(count + 1, 5.0f);
    auto back_expected = back;
    reference::to_fp32(got.data(), dtype(), back_expected.data(), count);
    to_fp32(got.data(), dtype(), back.data(), count);
    EXPECT_EQ(bits_of(back), bits_of(back_expected));
  }
}

TEST_P(Kernels, RoundingToInt8EqualsTheReferenceToTheBit) {
  for (const size_t count : kCounts) {
    const auto x = values_of(kind(), count, random_);
    Bytes expected(count + 1, std::byte{7});
    Bytes got = expected;
    const float scale = reference::round_int8(x.data(), expected.data(), count);
    EXPECT_EQ(round_int8(x.data(), got.data(), count), scale);
    EXPECT_EQ(got, expected);
    for (size_t i = 0; i < count; ++i) {
      if (scale == 0) break;
      EXPECT_LE(std::abs(static_cast<int8_t>(got[i]) * scale - x[i]), 0.501f * scale) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, Kernels,
                         ::testing::Combine(::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                                            ::testing::Values(DType::kFp32, DType::kFp16, DType::kBf16),
                                            ::testing::Values(Values::kOrdinary, Values::kTiny, Values::kHuge,
                                                              Values::kMixed)));

TEST(KernelsAdd, EqualsTheReferenceToTheBit) {
  Random random(3);
  for (const size_t count : kCounts) {
    const auto x = values_of(Values::kMixed, count, random);
    const auto start = values_of(Values::kMixed, count + 1, random);
    auto expected = start;
    auto got = start;
    reference::add(x.data(), expected.data(), count);
    add(x.data(), got.data(), count);
    EXPECT_EQ(bits_of(got), bits_of(expected)) << count;
  }
}

TEST(KernelsDot, IsCloseToTheSumInDouble) {
  Random random(5);
  for (const size_t count : kCounts) {
    const auto weights = values_of(Values::kOrdinary, count, random);
    const auto x = values_of(Values::kOrdinary, count, random);
    double sum = 0;
    double magnitude = 0;
    for (size_t i = 0; i < count; ++i) {
      sum += static_cast<double>(weights[i]) * x[i];
      magnitude += std::abs(static_cast<double>(weights[i]) * x[i]);
    }
    const float got = dot(reinterpret_cast<const std::byte*>(weights.data()), DType::kFp32, x.data(), count);
    EXPECT_NEAR(got, sum, 1e-7 * magnitude * (2 + static_cast<double>(count) / kDotLanes)) << count;
  }
}

TEST(KernelsTarget, IsOneOfTheMachines) {
  std::vector<std::string> names = {"scalar"};
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) names.push_back(hwy::TargetName(target));
  EXPECT_NE(std::find(names.begin(), names.end(), target_name()), names.end()) << target_name();
}

}  // namespace
}  // namespace flashneuron::kernels
