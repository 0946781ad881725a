// Dots of rows of weights. Highway compiles this file once per instruction set and picks one at run time.
//
// Bits do not depend on the instruction set: partial sums have a fixed number of lanes (kDotLanes) in as many vectors
// as that takes.
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
static_assert(kDotLanes % kLanes == 0);

// Fetches as many bytes of `next` as a step has, once every cache line.
template <size_t kStepBytes>
HWY_INLINE void prefetch(const std::byte* next, size_t offset) {
  if (next == nullptr || (kStepBytes < 64 && offset % 64 != 0)) return;
  FN_UNROLL
  for (size_t line = 0; line < kStepBytes || line == 0; line += 64) __builtin_prefetch(next + offset + line, 0, 3);
}

template <size_t kRows, typename T>
HWY_INLINE void dot_round(const T* const (&weights)[kRows], size_t i, const float* x, V (&sums)[kRows][kVectors]) {
  FN_UNROLL
  for (size_t k = 0; k < kVectors; ++k) {
    const V input = load(x + k * kLanes);
    FN_UNROLL
    for (size_t r = 0; r < kRows; ++r) sums[r][k] = hn::MulAdd(load(weights[r] + i + k * kLanes), input, sums[r][k]);
  }
}

template <size_t kRows, typename T>
HWY_INLINE void dot_elements(const DotRow* rows, const float* x, size_t count, float* out) {
  V sums[kRows][kVectors];
  const T* weights[kRows];
  FN_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    weights[r] = reinterpret_cast<const T*>(rows[r].row.values);
    FN_UNROLL
    for (size_t k = 0; k < kVectors; ++k) sums[r][k] = hn::Zero(D());
  }
  size_t i = 0;
  for (; i + kDotLanes <= count; i += kDotLanes) {
    FN_UNROLL
    for (size_t r = 0; r < kRows; ++r) prefetch<kDotLanes * sizeof(T)>(rows[r].next, i * sizeof(T));
    dot_round<kRows, T>(weights, i, x + i, sums);
  }
  if (i < count) {
    T last[kRows][kDotLanes] = {};
    const T* last_weights[kRows];
    float last_x[kDotLanes] = {};
    std::memcpy(last_x, x + i, (count - i) * sizeof(float));
    for (size_t r = 0; r < kRows; ++r) {
      std::memcpy(static_cast<void*>(last[r]), weights[r] + i, (count - i) * sizeof(T));
      last_weights[r] = last[r];
    }
    dot_round<kRows, T>(last_weights, 0, last_x, sums);
  }
  FN_UNROLL
  for (size_t r = 0; r < kRows; ++r) out[r] = fold(sums[r]);
}

template <size_t kRows>
void dot_few(const DotRow* rows, DType dtype, const float* input, size_t count, float* out) {
  as_elements(nullptr, dtype, [&](const auto* element) {
    using T = std::remove_cv_t<std::remove_pointer_t<decltype(element)>>;
    dot_elements<kRows, T>(rows, input, count, out);
    return 0;
  });
}

// Two rows at a time: each load of the input serves both, and their sums do not wait for each other.
void dot_many(std::span<const DotRow> rows, DType dtype, const float* input, size_t count, float* out) {
  size_t r = 0;
  for (; r + 2 <= rows.size(); r += 2) dot_few<2>(&rows[r], dtype, input, count, out + r);
  if (r < rows.size()) dot_few<1>(&rows[r], dtype, input, count, out + r);
}

#else

void dot_many(std::span<const DotRow> rows, DType dtype, const float* x, size_t count, float* out) {
  for (size_t r = 0; r < rows.size(); ++r) out[r] = reference::dot(rows[r].row.values, dtype, x, count);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace flashneuron::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flashneuron::kernels {

HWY_EXPORT(dot_many);

float dot(const std::byte* weights, DType dtype, const float* x, size_t count) {
  const DotRow row{.row = {.values = weights}};
  float sum;
  HWY_DYNAMIC_DISPATCH(dot_many)({&row, 1}, dtype, x, count, &sum);
  return sum;
}

void dot_rows(std::span<const DotRow> rows, const RowInput& input, float* out) {
  if (has_scales(input.dtype())) return dot_integers(rows, input, out);
  HWY_DYNAMIC_DISPATCH(dot_many)(rows, input.dtype(), input.x(), input.count(), out);
}

float dot_row(WeightRow row, const RowInput& input) {
  const DotRow only{.row = row};
  float sum;
  dot_rows({&only, 1}, input, &sum);
  return sum;
}

}  // namespace flashneuron::kernels
#endif  // HWY_ONCE
