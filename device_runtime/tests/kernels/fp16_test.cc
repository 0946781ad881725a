#include "kernels/fp16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/kernels.h"
#include "support/random.h"

namespace flashneuron::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A half's value by its definition, in double.
double value_of(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

bool is_nan(uint16_t half) { return (half & 0x7FFF) > 0x7C00; }

TEST(Fp16, EveryFiniteHalfHasItsValueAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    if ((half >> 10 & 31) == 31) continue;
    ASSERT_EQ(half_to_float(half), value_of(half)) << half;
    ASSERT_EQ(float_to_half(half_to_float(half)), half);
  }
}

TEST(Fp16, InfinityAndNan) {
  EXPECT_EQ(half_to_float(0x7C00), kInfinity);
  EXPECT_EQ(half_to_float(0xFC00), -kInfinity);
  EXPECT_TRUE(std::isnan(half_to_float(0x7C01)));
  EXPECT_EQ(float_to_half(kInfinity), 0x7C00);
  EXPECT_EQ(float_to_half(-kInfinity), 0xFC00);
  EXPECT_TRUE(is_nan(float_to_half(std::numeric_limits<float>::quiet_NaN())));
  // A NaN whose payload lies in the bits that a half does not keep.
  EXPECT_TRUE(is_nan(float_to_half(std::bit_cast<float>(0x7F800001u))));
}

TEST(Fp16, RoundsToNearestEvenBetweenNeighbours) {
  for (uint16_t half = 0; half < 0x7BFF; ++half) {
    const float low = half_to_float(half);
    const float high = half_to_float(static_cast<uint16_t>(half + 1));
    const float middle = (low + high) / 2;  // exact: a half's neighbours are far apart in fp32
    const uint16_t even = half % 2 == 0 ? half : static_cast<uint16_t>(half + 1);
    ASSERT_EQ(float_to_half(middle), even) << half;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), half);
    ASSERT_EQ(float_to_half(std::nextafter(middle, kInfinity)), half + 1);
    ASSERT_EQ(float_to_half(-std::nextafter(middle, kInfinity)), (half + 1) | 0x8000);
  }
}

TEST(Fp16, OverflowsToInfinityFromHalfway) {
  EXPECT_EQ(float_to_half(65504.0f), 0x7BFF);
  EXPECT_EQ(float_to_half(std::nextafter(65520.0f, 0.0f)), 0x7BFF);
  EXPECT_EQ(float_to_half(65520.0f), 0x7C00);
  EXPECT_EQ(float_to_half(-std::numeric_limits<float>::max()), 0xFC00);
}

TEST(Fp16, KernelsConvertAsTheScalarsDo) {
  std::vector<uint16_t> halves(0x10000);
  for (uint32_t bits = 0; bits < 0x10000; ++bits) halves[bits] = static_cast<uint16_t>(bits);
  std::vector<uint32_t> got(halves.size());
  std::vector<float> floats(halves.size());
  to_fp32(reinterpret_cast<const std::byte*>(halves.data()), DType::kFp16, floats.data(), halves.size());
  std::memcpy(got.data(), floats.data(), 4 * got.size());
  for (size_t i = 0; i < halves.size(); ++i) ASSERT_EQ(got[i], std::bit_cast<uint32_t>(half_to_float(halves[i]))) << i;

  testing::Random random(7);
  std::vector<float> source(200003);
  for (float& value : source) value = std::bit_cast<float>(static_cast<uint32_t>(random.bits()));
  std::vector<uint16_t> rounded(source.size());
  from_fp32(source.data(), DType::kFp16, reinterpret_cast<std::byte*>(rounded.data()), source.size());
  for (size_t i = 0; i < source.size(); ++i) ASSERT_EQ(rounded[i], float_to_half(source[i])) << source[i];
}

}  // namespace
}  // namespace flashneuron::kernels
