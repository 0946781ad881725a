// Element-wise vector kernels. Highway compiles this file once per instruction set and picks one at run time.
#include "kernels/kernels.h"

#include <cstdint>
#include <cstring>

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kernels.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// foreach_target.h comes first.
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flashneuron::kernels {
namespace HWY_NAMESPACE {

#if FN_VECTOR_KERNELS

template <typename T>
void axpy_row(float scale, const T* weights, float* y, size_t count) {
  const V factor = hn::Set(D(), scale);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(hn::MulAdd(factor, load(weights + i), load(y + i)), y + i);
  if (i == count) return;
  T last_weights[kLanes] = {};
  float last_y[kLanes] = {};
  std::memcpy(static_cast<void*>(last_weights), weights + i, (count - i) * sizeof(T));
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
  std::memcpy(static_cast<void*>(last_source), source + i, (count - i) * sizeof(From));
  store(load(last_source), last_destination);
  std::memcpy(static_cast<void*>(destination + i), last_destination, (count - i) * sizeof(To));
}

void axpy(float scale, const std::byte* weights, DType dtype, float* y, size_t count) {
  as_elements(weights, dtype, [&](const auto* row) {
    axpy_row(scale, row, y, count);
    return 0;
  });
}

void add(const float* x, float* y, size_t count) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(hn::Add(load(y + i), load(x + i)), y + i);
  for (; i < count; ++i) y[i] += x[i];
}

float round_int8(const float* x, std::byte* out, size_t count) {
  const float largest = largest_magnitude(x, count);
  const float factor = 127.0f / largest;
  if (!std::isfinite(factor)) return std::fill_n(out, count, std::byte{0}), 0.0f;
  const hn::Rebind<int8_t, D> bytes;
  const auto rounded = [&](const float* from) {
    return hn::DemoteTo(bytes, hn::NearestInt(hn::Mul(load(from), hn::Set(D(), factor))));
  };
  auto* integers = reinterpret_cast<int8_t*>(out);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(rounded(x + i), bytes, integers + i);
  if (i < count) {
    float last_x[kLanes] = {};
    int8_t last[kLanes];
    std::memcpy(last_x, x + i, (count - i) * sizeof(float));
    hn::StoreU(rounded(last_x), bytes, last);
    std::memcpy(integers + i, last, count - i);
  }
  return largest / 127.0f;
}

void halves_to_fp32(const std::byte* source, float* destination, size_t count) {
  convert(reinterpret_cast<const hwy::float16_t*>(source), destination, count);
}

void fp32_to_halves(const float* source, std::byte* destination, size_t count) {
  convert(source, reinterpret_cast<hwy::float16_t*>(destination), count);
}

std::string target_name() { return hwy::TargetName(HWY_TARGET); }

#else

void axpy(float scale, const std::byte* weights, DType dtype, float* y, size_t count) {
  reference::axpy(scale, weights, dtype, y, count);
}
void add(const float* x, float* y, size_t count) { reference::add(x, y, count); }
float round_int8(const float* x, std::byte* out, size_t count) { return reference::round_int8(x, out, count); }
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

HWY_EXPORT(axpy);
HWY_EXPORT(add);
HWY_EXPORT(round_int8);
HWY_EXPORT(halves_to_fp32);
HWY_EXPORT(fp32_to_halves);
HWY_EXPORT(target_name);

void axpy(float scale, const std::byte* weights, DType dtype, float* y, size_t count) {
  HWY_DYNAMIC_DISPATCH(axpy)(scale, weights, dtype, y, count);
}

void add(const float* x, float* y, size_t count) { HWY_DYNAMIC_DISPATCH(add)(x, y, count); }

void to_fp32(const std::byte* source, DType dtype, float* destination, size_t count) {
  if (dtype != DType::kFp16) return reference::to_fp32(source, dtype, destination, count);
  HWY_DYNAMIC_DISPATCH(halves_to_fp32)(source, destination, count);
}

void from_fp32(const float* source, DType dtype, std::byte* destination, size_t count) {
  if (dtype != DType::kFp16) return reference::from_fp32(source, dtype, destination, count);
  HWY_DYNAMIC_DISPATCH(fp32_to_halves)(source, destination, count);
}

float round_int8(const float* x, std::byte* out, size_t count) {
  return HWY_DYNAMIC_DISPATCH(round_int8)(x, out, count);
}

std::string target_name() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

}  // namespace flashneuron::kernels
#endif  // HWY_ONCE
