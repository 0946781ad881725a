// Loads of kLanes weights from any address as fp32, for the instruction set that is being compiled. Included once per
// set by each file of vector kernels, behind foreach_target.h. FN_VECTOR_KERNELS: the set has what they need; sets
// without fused multiply-add run the reference.
#if defined(FN_VECTORS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FN_VECTORS_INL
#undef FN_VECTORS_INL
#else
#define FN_VECTORS_INL
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#undef FN_VECTOR_KERNELS
#if HWY_NATIVE_FMA && !(HWY_ARCH_X86 && defined(HWY_DISABLE_F16C))
#define FN_VECTOR_KERNELS 1
#else
#define FN_VECTOR_KERNELS 0
#endif

#undef FN_UNROLL
#define FN_UNROLL _Pragma("GCC unroll 16")

HWY_BEFORE_NAMESPACE();
namespace flashneuron::kernels {
namespace HWY_NAMESPACE {
#if FN_VECTOR_KERNELS

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr size_t kLanes = hn::MaxLanes(D());

HWY_INLINE V load(const float* row) { return hn::LoadU(D(), row); }
HWY_INLINE V load(const hwy::float16_t* row) {
  return hn::PromoteTo(D(), hn::LoadU(hn::Rebind<hwy::float16_t, D>(), row));
}
HWY_INLINE V load(const hwy::bfloat16_t* row) {
  return hn::PromoteTo(D(), hn::LoadU(hn::Rebind<hwy::bfloat16_t, D>(), row));
}
HWY_INLINE V load(const int8_t* row) {
  return hn::ConvertTo(D(), hn::PromoteTo(hn::RebindToSigned<D>(), hn::LoadU(hn::Rebind<int8_t, D>(), row)));
}
HWY_INLINE void store(V values, float* row) { hn::StoreU(values, D(), row); }
HWY_INLINE void store(V values, hwy::float16_t* row) {
  const hn::Rebind<hwy::float16_t, D> half;
  hn::StoreU(hn::DemoteTo(half, values), half, row);
}

// The largest |x|, 0 for none.
HWY_INLINE float largest_magnitude(const float* x, size_t count) {
  V most = hn::Zero(D());
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) most = hn::Max(most, hn::Abs(load(x + i)));
  float largest = hn::GetLane(hn::MaxOfLanes(D(), most));
  for (; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  return largest;
}

// Folds by halves: vectors, then lanes.
template <size_t kVectors>
HWY_INLINE float fold(V (&sums)[kVectors]) {
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

// Calls run(row) with the row as its element type. Not for int4.
template <typename Run>
HWY_INLINE auto as_elements(const std::byte* row, DType dtype, const Run& run) {
  switch (dtype) {
    case DType::kFp32:
      return run(reinterpret_cast<const float*>(row));
    case DType::kFp16:
      return run(reinterpret_cast<const hwy::float16_t*>(row));
    case DType::kBf16:
      return run(reinterpret_cast<const hwy::bfloat16_t*>(row));
    default:
      return run(reinterpret_cast<const int8_t*>(row));
  }
}

// The fp32 values of up to 16 fp16 scales; zeros after `count`.
HWY_INLINE void load_scales(const std::byte* scales, size_t count, float* values) {
  hwy::float16_t halves[16] = {};
  if (count < 16) {
    std::memcpy(halves, scales, count * sizeof(*halves));
    scales = reinterpret_cast<const std::byte*>(halves);
  }
  const auto* source = reinterpret_cast<const hwy::float16_t*>(scales);
  FN_UNROLL
  for (size_t i = 0; i < 16; i += kLanes) store(load(source + i), values + i);
}

// The value of nibble k % 4 of each half word, where it lies.
using U = hn::RebindToUnsigned<D>;
HWY_INLINE V nibbles(hn::Vec<U> words, size_t k) {
  const auto masked = hn::And(words, hn::Set(U(), 15u << (4 * (k % 4))));
  return hn::ConvertTo(D(), hn::BitCast(hn::RebindToSigned<D>(), masked));
}

#endif
}  // namespace HWY_NAMESPACE
}  // namespace flashneuron::kernels
HWY_AFTER_NAMESPACE();

#endif  // FN_VECTORS_INL
