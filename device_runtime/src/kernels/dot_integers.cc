// Dots of integer rows with inputs in 16-bit integers: products and their sums are exact, so no order matters but that
// of the groups' and chunks' sums, which are floats. Highway compiles this file once per instruction set.
#include <algorithm>
#include <cmath>

#include "kernels/int4.h"
#include "kernels/round_input.h"
#include "kernels/weights.h"

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dot_integers.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// foreach_target.h comes first.
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flashneuron::kernels {
namespace HWY_NAMESPACE {

#if FN_VECTOR_KERNELS

using D16 = hn::ScalableTag<int16_t>;
using U16 = hn::ScalableTag<uint16_t>;
using D32 = hn::ScalableTag<int32_t>;
constexpr size_t kShorts = hn::MaxLanes(D16());
constexpr size_t kStep = 64;  // int8 elements: a cache line
static_assert(kStep % kShorts == 0 && kIntegerChunk % kStep == 0 && kStep <= RowInput::kPadding);

// Sums of products of neighbours: lane i takes those of lanes 2i and 2i + 1.
struct PairSums {
  hn::Vec<D32> sum;
  hn::Vec<D32> other;  // where an instruction set multiplies halves of a vector

  HWY_INLINE PairSums() : sum(hn::Zero(D32())), other(hn::Zero(D32())) {}
  HWY_INLINE void add(hn::Vec<D16> a, hn::Vec<D16> b) { sum = hn::ReorderWidenMulAccumulate(D32(), a, b, sum, other); }
  HWY_INLINE hn::Vec<D32> lanes() const {
#if HWY_ARCH_X86
    return sum;
#else
    return hn::Add(hn::ConcatEven(D32(), other, sum), hn::ConcatOdd(D32(), other, sum));
#endif
  }
};

HWY_INLINE hn::Vec<D16> load_shorts(const int16_t* values) { return hn::LoadU(D16(), values); }
HWY_INLINE hn::Vec<D16> load_shorts(const int8_t* values) {
  return hn::PromoteTo(D16(), hn::LoadU(hn::Rebind<int8_t, D16>(), values));
}

template <size_t kRows>
HWY_INLINE void step_int8(const int8_t* const (&weights)[kRows], const int16_t* x, PairSums (&sums)[kRows][2]) {
  FN_UNROLL
  for (size_t k = 0; k < kStep; k += kShorts) {
    const auto input = load_shorts(x + k);
    FN_UNROLL
    for (size_t r = 0; r < kRows; ++r) sums[r][k / kShorts % 2].add(load_shorts(weights[r] + k), input);
  }
}

template <size_t kRows>
HWY_INLINE void dot_int8(const DotRow* rows, const RowInput& input, float* out) {
  float totals[kRows] = {};
  const size_t count = input.count();
  for (size_t chunk = 0; chunk < count; chunk += kIntegerChunk) {
    PairSums sums[kRows][2];
    const size_t end = count - chunk < kIntegerChunk ? count : chunk + kIntegerChunk;
    const int8_t* weights[kRows];
    size_t i = chunk;
    for (; i + kStep <= end; i += kStep) {
      FN_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        weights[r] = reinterpret_cast<const int8_t*>(rows[r].row.values) + i;
        if (rows[r].next != nullptr) __builtin_prefetch(rows[r].next + i, 0, 3);
      }
      step_int8(weights, input.integers() + i, sums);
    }
    if (i < end) {
      int8_t last[kRows][kStep] = {};
      for (size_t r = 0; r < kRows; ++r) {
        std::memcpy(last[r], rows[r].row.values + i, end - i);
        weights[r] = last[r];
      }
      step_int8(weights, input.integers() + i, sums);
    }
    FN_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const auto sum = hn::SumOfLanes(D32(), hn::Add(sums[r][0].lanes(), sums[r][1].lanes()));
      totals[r] += static_cast<float>(hn::GetLane(sum));
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    float scale;
    std::memcpy(&scale, rows[r].row.scales, sizeof(scale));
    out[r] = scale * input.scale() * totals[r];
  }
}

constexpr size_t kGroupVectors = int4::kWords / kLanes;
static_assert(int4::kWords % kLanes == 0);

// Adds a group's products with x, and `offsets`, to the totals.
template <size_t kRows>
HWY_INLINE void dot_group(const std::byte* const (&weights)[kRows], size_t byte, const int16_t* x,
                          const int32_t* offsets, const float (&scales)[kRows][16], size_t in_chunk,
                          V (&total)[kRows][kGroupVectors]) {
  const auto mask = hn::Set(U16(), 15);
  FN_UNROLL
  for (size_t v = 0; v < kGroupVectors; ++v) {
    const int16_t* input = x + v * kShorts;
    const auto x0 = load_shorts(input);
    const auto x1 = load_shorts(input + int4::kShorts);
    const auto x2 = load_shorts(input + 2 * int4::kShorts);
    const auto x3 = load_shorts(input + 3 * int4::kShorts);
    const auto offset = hn::LoadU(D32(), offsets + v * kLanes);
    FN_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const auto words = hn::LoadU(U16(), reinterpret_cast<const uint16_t*>(weights[r] + byte) + v * kShorts);
      PairSums sums;
      sums.add(hn::BitCast(D16(), hn::And(words, mask)), x0);
      sums.add(hn::BitCast(D16(), hn::And(hn::ShiftRight<4>(words), mask)), x1);
      sums.add(hn::BitCast(D16(), hn::And(hn::ShiftRight<8>(words), mask)), x2);
      sums.add(hn::BitCast(D16(), hn::ShiftRight<12>(words)), x3);
      const V products = hn::ConvertTo(D(), hn::Add(sums.lanes(), offset));
      total[r][v] = hn::MulAdd(hn::Set(D(), scales[r][in_chunk]), products, total[r][v]);
    }
  }
}

template <size_t kRows>
HWY_INLINE void dot_int4(const DotRow* rows, const RowInput& input, float* out) {
  V total[kRows][kGroupVectors];
  const std::byte* weights[kRows];
  FN_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    weights[r] = rows[r].row.values;
    FN_UNROLL
    for (size_t v = 0; v < kGroupVectors; ++v) total[r][v] = hn::Zero(D());
  }
  const size_t count = input.count();
  const size_t groups = (count + kInt4Group - 1) / kInt4Group;
  const size_t whole = count / kInt4Group;
  for (size_t first = 0; first < groups; first += 16) {
    float scales[kRows][16];
    for (size_t r = 0; r < kRows; ++r) {
      load_scales(rows[r].row.scales + 2 * first, groups - first < 16 ? groups - first : 16, scales[r]);
    }
    for (size_t g = first; g < whole && g < first + 16; ++g) {
      const size_t byte = g * int4::kGroupBytes;
      FN_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        if (rows[r].next != nullptr) __builtin_prefetch(rows[r].next + byte, 0, 3);
      }
      dot_group<kRows>(weights, byte, input.integers() + g * kInt4Group, input.offsets() + g * int4::kWords, scales,
                       g - first, total);
    }
    if (whole < groups && whole < first + 16) {
      std::byte last[kRows][int4::kGroupBytes] = {};
      const std::byte* last_weights[kRows];
      for (size_t r = 0; r < kRows; ++r) {
        const std::byte* rest = weights[r] + whole * int4::kGroupBytes;
        std::memcpy(last[r], rest, row_bytes(DType::kInt4, count % kInt4Group));
        last_weights[r] = last[r];
      }
      dot_group<kRows>(last_weights, 0, input.integers() + whole * kInt4Group, input.offsets() + whole * int4::kWords,
                       scales, whole - first, total);
    }
  }
  FN_UNROLL
  for (size_t r = 0; r < kRows; ++r) out[r] = input.scale() * fold(total[r]);
}

void dot_integers(std::span<const DotRow> rows, const RowInput& input, float* out) {
  const bool int4 = input.dtype() == DType::kInt4;
  size_t r = 0;
  for (; r + 2 <= rows.size(); r += 2)
    int4 ? dot_int4<2>(&rows[r], input, out + r) : dot_int8<2>(&rows[r], input, out + r);
  if (r < rows.size()) int4 ? dot_int4<1>(&rows[r], input, out + r) : dot_int8<1>(&rows[r], input, out + r);
}

float round_input(const float* x, int16_t* integers, size_t count) {
  const float largest = largest_magnitude(x, count);
  if (!(largest > 0)) return std::fill_n(integers, count, int16_t{0}), 0.0f;
  const V factor = hn::Set(D(), kLargestInteger / largest);
  const hn::Rebind<int16_t, D> shorts;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(hn::DemoteTo(shorts, hn::NearestInt(hn::Mul(load(x + i), factor))), shorts, integers + i);
  }
  if (i < count) {
    float last[kLanes] = {};
    int16_t rounded[kLanes];
    std::memcpy(last, x + i, (count - i) * sizeof(float));
    hn::StoreU(hn::DemoteTo(shorts, hn::NearestInt(hn::Mul(load(last), factor))), shorts, rounded);
    std::memcpy(integers + i, rounded, (count - i) * sizeof(int16_t));
  }
  return largest / kLargestInteger;
}

#else

void dot_integers(std::span<const DotRow> rows, const RowInput& input, float* out) {
  for (size_t r = 0; r < rows.size(); ++r) out[r] = reference::dot_row(rows[r].row, input);
}

float round_input(const float* x, int16_t* integers, size_t count) {
  return reference::round_input(x, integers, count);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace flashneuron::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flashneuron::kernels {

HWY_EXPORT(dot_integers);
HWY_EXPORT(round_input);

void dot_integers(std::span<const DotRow> rows, const RowInput& input, float* out) {
  HWY_DYNAMIC_DISPATCH(dot_integers)(rows, input, out);
}

float round_input(const float* x, int16_t* integers, size_t count) {
  return HWY_DYNAMIC_DISPATCH(round_input)(x, integers, count);
}

}  // namespace flashneuron::kernels
#endif  // HWY_ONCE
