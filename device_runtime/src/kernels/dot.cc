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

constexpr size_t kGroupVectors = int4::kWords / kLanes;

template <size_t kRows>
HWY_INLINE void dot_group(const std::byte* const (&weights)[kRows], size_t byte, const float* input,
                          const float (&scales)[kRows][16], size_t in_chunk, V (&total)[kRows][kGroupVectors]) {
  FN_UNROLL
  for (size_t v = 0; v < kGroupVectors; ++v) {
    const float* x = input + v * kLanes;
    hn::Vec<U> words[kRows];
    V even[kRows];
    V odd[kRows];
    FN_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      words[r] = hn::LoadU(U(), reinterpret_cast<const uint32_t*>(weights[r] + byte) + v * kLanes);
      even[r] = load(x + kInt4Group);
      odd[r] = hn::Zero(D());
    }
    FN_UNROLL
    for (size_t k = 0; k < int4::kNibbles; k += 2) {
      const V x_even = load(x + k * int4::kWords);
      const V x_odd = load(x + (k + 1) * int4::kWords);
      FN_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        if (k == 4) words[r] = hn::ShiftRight<16>(words[r]);
        even[r] = hn::MulAdd(nibbles(words[r], k), x_even, even[r]);
        odd[r] = hn::MulAdd(nibbles(words[r], k + 1), x_odd, odd[r]);
      }
    }
    FN_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      total[r][v] = hn::MulAdd(hn::Set(D(), scales[r][in_chunk]), hn::Add(even[r], odd[r]), total[r][v]);
    }
  }
}

template <size_t kRows>
HWY_INLINE void dot_int4(const DotRow* rows, const float* input, size_t count, float* out) {
  V total[kRows][kGroupVectors];
  const std::byte* weights[kRows];
  FN_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    weights[r] = rows[r].row.values;
    FN_UNROLL
    for (size_t v = 0; v < kGroupVectors; ++v) total[r][v] = hn::Zero(D());
  }
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
      for (size_t r = 0; r < kRows; ++r) prefetch<int4::kGroupBytes>(rows[r].next, byte);
      dot_group<kRows>(weights, byte, input + g * int4::kStride, scales, g - first, total);
    }
    if (whole < groups && whole < first + 16) {
      std::byte last[kRows][int4::kGroupBytes] = {};
      const std::byte* last_weights[kRows];
      for (size_t r = 0; r < kRows; ++r) {
        const std::byte* rest = weights[r] + whole * int4::kGroupBytes;
        std::memcpy(last[r], rest, row_bytes(DType::kInt4, count % kInt4Group));
        last_weights[r] = last[r];
      }
      dot_group<kRows>(last_weights, 0, input + whole * int4::kStride, scales, whole - first, total);
    }
  }
  FN_UNROLL
  for (size_t r = 0; r < kRows; ++r) out[r] = fold(total[r]);
}

template <size_t kRows>
void dot_few(const DotRow* rows, DType dtype, const float* input, size_t count, float* out) {
  if (dtype == DType::kInt4) return dot_int4<kRows>(rows, input, count, out);
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

void dot_many(std::span<const DotRow> rows, DType dtype, const float* input, size_t count, float* out) {
  for (size_t r = 0; r < rows.size(); ++r) {
    out[r] = dtype == DType::kInt4 ? reference::dot_row(rows[r].row, dtype, input, count)
                                   : reference::dot(rows[r].row.values, dtype, input, count);
  }
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

void dot_rows(std::span<const DotRow> rows, DType dtype, const float* input, size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(dot_many)(rows, dtype, input, count, out);
  if (dtype != DType::kInt8) return;
  for (size_t r = 0; r < rows.size(); ++r) {
    float scale;
    std::memcpy(&scale, rows[r].row.scales, sizeof(scale));
    out[r] *= scale;
  }
}

float dot_row(WeightRow row, DType dtype, const float* input, size_t count) {
  const DotRow only{.row = row};
  float sum;
  dot_rows({&only, 1}, dtype, input, count, &sum);
  return sum;
}

}  // namespace flashneuron::kernels
#endif  // HWY_ONCE
