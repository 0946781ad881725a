// Dots of rows of weights. Highway compiles this file once per instruction set and picks one at run time.
//
// Bits do not depend on the instruction set: partial sums have a fixed number of lanes (kDotLanes, or the 16 words of
// an int4 group) in as many vectors as that takes.
#include "kernels/int4.h"
#include "kernels/kernels.h"
#include "kernels/weights.h"

// Vectors of a length unknown to the compiler cannot be kept in arrays; those of phones are as short as NEON's anyway.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dot.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// foreach_target.h comes first.
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flashneuron::kernels {
namespace HWY_NAMESPACE {

#if FN_VECTOR_KERNELS

constexpr size_t kVectors = kDotLanes / kLanes;
static_assert(kDotLanes % kLanes == 0 && int4::kWords % kLanes == 0);

template <typename T>
HWY_INLINE void dot_round(const T* weights, const float* x, V (&sums)[kVectors]) {
  FN_UNROLL
  for (size_t k = 0; k < kVectors; ++k) {
    sums[k] = hn::MulAdd(load(weights + k * kLanes), load(x + k * kLanes), sums[k]);
  }
}

// Fetches as many bytes of `next` as a step has, once every cache line.
template <size_t kStepBytes>
HWY_INLINE void prefetch(const std::byte* next, size_t offset) {
  if (kStepBytes < 64 && offset % 64 != 0) return;
  FN_UNROLL
  for (size_t line = 0; line < kStepBytes || line == 0; line += 64) __builtin_prefetch(next + offset + line, 0, 3);
}

template <typename T>
float dot_elements(const T* weights, const float* x, size_t count, const std::byte* next) {
  V sums[kVectors];
  FN_UNROLL
  for (size_t k = 0; k < kVectors; ++k) sums[k] = hn::Zero(D());
  size_t i = 0;
  for (; i + kDotLanes <= count; i += kDotLanes) {
    if (next != nullptr) prefetch<kDotLanes * sizeof(T)>(next, i * sizeof(T));
    dot_round(weights + i, x + i, sums);
  }
  if (i < count) {
    T last_weights[kDotLanes] = {};
    float last_x[kDotLanes] = {};
    std::memcpy(static_cast<void*>(last_weights), weights + i, (count - i) * sizeof(T));
    std::memcpy(last_x, x + i, (count - i) * sizeof(float));
    dot_round(last_weights, last_x, sums);
  }
  return fold(sums);
}

constexpr size_t kGroupVectors = int4::kWords / kLanes;

HWY_INLINE void dot_group(const std::byte* weights, const float* input, float scale, V (&total)[kGroupVectors]) {
  FN_UNROLL
  for (size_t v = 0; v < kGroupVectors; ++v) {
    const float* x = input + v * kLanes;
    const auto low = hn::LoadU(U(), reinterpret_cast<const uint32_t*>(weights) + v * kLanes);
    const auto high = hn::ShiftRight<16>(low);
    V even = load(x + kInt4Group);
    V odd = hn::Zero(D());
    FN_UNROLL
    for (size_t k = 0; k < int4::kNibbles; k += 2) {
      even = hn::MulAdd(nibbles(k < 4 ? low : high, k), load(x + k * int4::kWords), even);
      odd = hn::MulAdd(nibbles(k < 4 ? low : high, k + 1), load(x + (k + 1) * int4::kWords), odd);
    }
    total[v] = hn::MulAdd(hn::Set(D(), scale), hn::Add(even, odd), total[v]);
  }
}

float dot_int4(WeightRow row, const float* input, size_t count, const std::byte* next) {
  V total[kGroupVectors];
  FN_UNROLL
  for (size_t v = 0; v < kGroupVectors; ++v) total[v] = hn::Zero(D());
  const size_t groups = (count + kInt4Group - 1) / kInt4Group;
  const size_t whole = count / kInt4Group;
  for (size_t first = 0; first < groups; first += 16) {
    float scales[16];
    load_scales(row.scales + 2 * first, groups - first < 16 ? groups - first : 16, scales);
    for (size_t g = first; g < whole && g < first + 16; ++g) {
      if (next != nullptr) prefetch<int4::kGroupBytes>(next, g * int4::kGroupBytes);
      dot_group(row.values + g * int4::kGroupBytes, input + g * int4::kStride, scales[g - first], total);
    }
    if (whole < groups && whole < first + 16) {
      std::byte last[int4::kGroupBytes] = {};
      std::memcpy(last, row.values + whole * int4::kGroupBytes, row_bytes(DType::kInt4, count % kInt4Group));
      dot_group(last, input + whole * int4::kStride, scales[whole - first], total);
    }
  }
  return fold(total);
}

float dot_any(const std::byte* weights, DType dtype, const float* x, size_t count, const std::byte* next) {
  return as_elements(weights, dtype, [&](const auto* row) { return dot_elements(row, x, count, next); });
}

#else

float dot_int4(WeightRow row, const float* input, size_t count, const std::byte*) {
  return reference::dot_row(row, DType::kInt4, input, count);
}
float dot_any(const std::byte* weights, DType dtype, const float* x, size_t count, const std::byte*) {
  return reference::dot(weights, dtype, x, count);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace flashneuron::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flashneuron::kernels {

HWY_EXPORT(dot_any);
HWY_EXPORT(dot_int4);

float dot(const std::byte* weights, DType dtype, const float* x, size_t count) {
  return HWY_DYNAMIC_DISPATCH(dot_any)(weights, dtype, x, count, nullptr);
}

float dot_row(WeightRow row, DType dtype, const float* input, size_t count, const std::byte* next) {
  if (dtype == DType::kInt4) return HWY_DYNAMIC_DISPATCH(dot_int4)(row, input, count, next);
  const float sum = HWY_DYNAMIC_DISPATCH(dot_any)(row.values, dtype, input, count, next);
  if (dtype != DType::kInt8) return sum;
  float scale;
  std::memcpy(&scale, row.scales, sizeof(scale));
  return scale * sum;
}

}  // namespace flashneuron::kernels
#endif  // HWY_ONCE
