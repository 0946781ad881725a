// The vector kernels. Highway compiles this file once per instruction set and picks one at run time.
//
// Bits do not depend on the instruction set: axpy is one fma an element, and dot keeps kDotLanes partial sums in as
// many vectors as that takes (2 of AVX-512, 4 of AVX2, 8 of NEON). Sets without fused multiply-add run the reference.
#include "kernels/kernels.h"

#include <cstdint>
#include <cstring>

// Vectors of a length unknown to the compiler cannot be kept in arrays; those of phones are as short as NEON's anyway.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// foreach_target.h comes first.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace flashneuron::kernels {
namespace HWY_NAMESPACE {

#if HWY_NATIVE_FMA && !(HWY_ARCH_X86 && defined(HWY_DISABLE_F16C))

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr size_t kLanes = hn::MaxLanes(D());
constexpr size_t kVectors = kDotLanes / kLanes;
static_assert(kDotLanes % kLanes == 0);
#define FN_UNROLL _Pragma("GCC unroll 8")

// kLanes elements from any address, as fp32.
HWY_INLINE V load(const float* row) { return hn::LoadU(D(), row); }
HWY_INLINE V load(const hwy::float16_t* row) {
  return hn::PromoteTo(D(), hn::LoadU(hn::Rebind<hwy::float16_t, D>(), row));
}
HWY_INLINE void store(V values, float* row) { hn::StoreU(values, D(), row); }
HWY_INLINE void store(V values, hwy::float16_t* row) {
  const hn::Rebind<hwy::float16_t, D> half;
  hn::StoreU(hn::DemoteTo(half, values), half, row);
}

template <typename T>
HWY_INLINE void dot_round(const T* weights, const float* x, V (&sums)[kVectors]) {
  FN_UNROLL
  for (size_t k = 0; k < kVectors; ++k) {
    sums[k] = hn::MulAdd(load(weights + k * kLanes), load(x + k * kLanes), sums[k]);
  }
}

template <typename T>
float dot_row(const T* weights, const float* x, size_t count) {
  V sums[kVectors];
  FN_UNROLL
  for (size_t k = 0; k < kVectors; ++k) sums[k] = hn::Zero(D());
  size_t i = 0;
  for (; i + kDotLanes <= count; i += kDotLanes) dot_round(weights + i, x + i, sums);
  if (i < count) {
    T last_weights[kDotLanes] = {};
    float last_x[kDotLanes] = {};
    std::memcpy(last_weights, weights + i, (count - i) * sizeof(T));
    std::memcpy(last_x, x + i, (count - i) * sizeof(float));
    dot_round(last_weights, last_x, sums);
  }
  FN_UNROLL
  for (size_t half = kVectors / 2; half > 0; half /= 2) {
    FN_UNROLL
    for (size_t k = 0; k < half; ++k) sums[k] = hn::Add(sums[k], sums[k + half]);
  }
  float lanes[kLanes];
  store(sums[0], lanes);
  FN_UNROLL
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    FN_UNROLL
    for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

template <typename T>
void axpy_row(float scale, const T* weights, float* y, size_t count) {
  const V factor = hn::Set(D(), scale);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(hn::MulAdd(factor, load(weights + i), load(y + i)), y + i);
  if (i == count) return;
  T last_weights[kLanes] = {};
  float last_y[kLanes] = {};
  std::memcpy(last_weights, weights + i, (count - i) * sizeof(T));
  std::memcpy(last_y, y + i, (count - i) * sizeof(float));
  store(hn::MulAdd(factor, load(last_weights), load(last_y)), last_y);
  std::memcpy(y + i, last_y, (count - i) * sizeof(float));
}

template <typename From, typename To>
void convert(const From* source, To* destination, size_t count) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(load(source + i), destination + i);
  if (i == count) return;
  From last_source[kLanes] = {};
  To last_destination[kLanes];
  std::memcpy(last_source, source + i, (count - i) * sizeof(From));
  store(load(last_source), last_destination);
  std::memcpy(destination + i, last_destination, (count - i) * sizeof(To));
}

float dot(const std::byte* weights, DType dtype, const float* x, size_t count) {
  return dtype == DType::kFp32 ? dot_row(reinterpret_cast<const float*>(weights), x, count)
                               : dot_row(reinterpret_cast<const hwy::float16_t*>(weights), x, count);
}

void axpy(float scale, const std::byte* weights, DType dtype, float* y, size_t count) {
  return dtype == DType::kFp32 ? axpy_row(scale, reinterpret_cast<const float*>(weights), y, count)
                               : axpy_row(scale, reinterpret_cast<const hwy::float16_t*>(weights), y, count);
}

void add(const float* x, float* y, size_t count) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(hn::Add(load(y + i), load(x + i)), y + i);
  for (; i < count; ++i) y[i] += x[i];
}

void halves_to_fp32(const std::byte* source, float* destination, size_t count) {
  convert(reinterpret_cast<const hwy::float16_t*>(source), destination, count);
}

void fp32_to_halves(const float* source, std::byte* destination, size_t count) {
  convert(source, reinterpret_cast<hwy::float16_t*>(destination), count);
}

std::string target_name() { return hwy::TargetName(HWY_TARGET); }

#else

float dot(const std::byte* weights, DType dtype, const float* x, size_t count) {
  return reference::dot(weights, dtype, x, count);
}
void axpy(float scale, const std::byte* weights, DType dtype, float* y, size_t count) {
  reference::axpy(scale, weights, dtype, y, count);
}
void add(const float* x, float* y, size_t count) { reference::add(x, y, count); }
void halves_to_fp32(const std::byte* source, float* destination, size_t count) {
  reference::to_fp32(source, DType::kFp16, destination, count);
}
void fp32_to_halves(const float* source, std::byte* destination, size_t count) {
  reference::from_fp32(source, DType::kFp16, destination, count);
}
std::string target_name() { return "scalar"; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace flashneuron::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flashneuron::kernels {

HWY_EXPORT(dot);
HWY_EXPORT(axpy);
HWY_EXPORT(add);
HWY_EXPORT(halves_to_fp32);
HWY_EXPORT(fp32_to_halves);
HWY_EXPORT(target_name);

float dot(const std::byte* weights, DType dtype, const float* x, size_t count) {
  return HWY_DYNAMIC_DISPATCH(dot)(weights, dtype, x, count);
}

void axpy(float scale, const std::byte* weights, DType dtype, float* y, size_t count) {
  HWY_DYNAMIC_DISPATCH(axpy)(scale, weights, dtype, y, count);
}

void add(const float* x, float* y, size_t count) { HWY_DYNAMIC_DISPATCH(add)(x, y, count); }

void to_fp32(const std::byte* source, DType dtype, float* destination, size_t count) {
  if (dtype == DType::kFp32) return reference::to_fp32(source, dtype, destination, count);
  HWY_DYNAMIC_DISPATCH(halves_to_fp32)(source, destination, count);
}

void from_fp32(const float* source, DType dtype, std::byte* destination, size_t count) {
  if (dtype == DType::kFp32) return reference::from_fp32(source, dtype, destination, count);
  HWY_DYNAMIC_DISPATCH(fp32_to_halves)(source, destination, count);
}

std::string target_name() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

}  // namespace flashneuron::kernels
#endif  // HWY_ONCE
