// Sums of a block's down columns. Highway compiles this file once per instruction set and picks one at run time.
//
// A tile of outputs stays in registers while the block's rows pass, so that each weight costs its conversion and one
// fma. Rows pass in groups: few enough that each is read as one stream, many enough that sums seldom go through memory
// between two rows. The rows lie anywhere: while one group is summed, the lines that the next one needs at the same
// outputs are fetched.
#include <algorithm>

#include "kernels/int4.h"
#include "kernels/weights.h"

#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/block_sum.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// foreach_target.h comes first.
#include "kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flashneuron::kernels {
namespace HWY_NAMESPACE {

#if FN_VECTOR_KERNELS

// Fetches [begin, end) of the row that comes to term t's place next.
HWY_INLINE void prefetch(const BlockSum& block, size_t t, size_t begin_byte, size_t end_byte) {
  if (t >= block.next.size()) return;
  for (size_t byte = begin_byte; byte < end_byte; byte += 64) {
    __builtin_prefetch(block.next[t].row.values + byte, 0, 3);
  }
}

// kVectors vectors of outputs from `at` on.
template <size_t kVectors, typename T>
HWY_INLINE void sum_tile(const BlockSum& block, const float* factors, size_t at) {
  V sums[kVectors];
  FN_UNROLL
  for (size_t k = 0; k < kVectors; ++k) {
    sums[k] = block.open ? load(block.partial + at + k * kLanes) : hn::Zero(D());
  }
  for (size_t t = 0; t < block.terms.size(); ++t) {
    const V factor = hn::Set(D(), factors[t]);
    const T* row = reinterpret_cast<const T*>(block.terms[t].row.values) + at;
    prefetch(block, t, at * sizeof(T), (at + kVectors * kLanes) * sizeof(T));
    FN_UNROLL
    for (size_t k = 0; k < kVectors; ++k) sums[k] = hn::MulAdd(factor, load(row + k * kLanes), sums[k]);
  }
  FN_UNROLL
  for (size_t k = 0; k < kVectors; ++k) {
    float* sum = block.sum + at + k * kLanes;
    if (block.sum != nullptr) {
      store(hn::Add(load(sum), sums[k]), sum);
    } else {
      store(sums[k], block.partial + at + k * kLanes);
    }
  }
}

// The outputs that are no whole vector, one by one: the fma of one lane has the bits of any other.
template <typename T>
HWY_INLINE void sum_rest(const BlockSum& block, const float* factors, size_t at, size_t count) {
  float sums[kLanes] = {};
  if (block.open) std::memcpy(sums, block.partial + at, count * sizeof(float));
  for (size_t t = 0; t < block.terms.size(); ++t) {
    T row[kLanes] = {};
    std::memcpy(static_cast<void*>(row), block.terms[t].row.values + at * sizeof(T), count * sizeof(T));
    store(hn::MulAdd(hn::Set(D(), factors[t]), load(row), load(sums)), sums);
  }
  for (size_t i = 0; i < count; ++i) {
    if (block.sum != nullptr) {
      block.sum[at + i] += sums[i];
    } else {
      block.partial[at + i] = sums[i];
    }
  }
}

template <typename T>
void sum_elements(const BlockSum& block, size_t begin, size_t end) {
  constexpr size_t kTile = 8 * kLanes;
  float factors[kTermsAtOnce];
  for (size_t t = 0; t < block.terms.size(); ++t) {
    factors[t] = block.terms[t].factor;
    if constexpr (sizeof(T) == 1) {
      float scale;
      std::memcpy(&scale, block.terms[t].row.scales, sizeof(scale));
      factors[t] *= scale;
    }
  }
  size_t at = begin;
  for (; at + kTile <= end; at += kTile) sum_tile<8, T>(block, factors, at);
  for (; at + kLanes <= end; at += kLanes) sum_tile<1, T>(block, factors, at);
  if (at < end) sum_rest<T>(block, factors, at, end - at);
}

// kLanes words of group `at`: 8 * kLanes outputs. `bytes` is where the words start in a row.
template <typename Words>
HWY_INLINE void sum_words(const BlockSum& block, const float (*factors)[16], size_t in_chunk, size_t group, size_t lane,
                          const Words& words) {
  const size_t first = group * int4::kStride;
  V sums[int4::kNibbles];
  FN_UNROLL
  for (size_t k = 0; k < int4::kNibbles; ++k) {
    sums[k] = block.open ? load(block.partial + first + k * int4::kWords + lane) : hn::Zero(D());
  }
  float offset = block.open ? block.partial[first + kInt4Group] : 0.0f;
  for (size_t t = 0; t < block.terms.size(); ++t) {
    const float f = factors[t][in_chunk];
    const V factor = hn::Set(D(), f);
    const auto low = words(t);
    const auto high = hn::ShiftRight<16>(low);
    offset += f;
    FN_UNROLL
    for (size_t k = 0; k < int4::kNibbles; ++k) {
      sums[k] = hn::MulAdd(factor, nibbles(k < 4 ? low : high, k), sums[k]);
    }
  }
  if (block.sum == nullptr) {
    FN_UNROLL
    for (size_t k = 0; k < int4::kNibbles; ++k) store(sums[k], block.partial + first + k * int4::kWords + lane);
    if (lane + kLanes == int4::kWords) block.partial[first + kInt4Group] = offset;
    return;
  }
  const V shift = hn::Set(D(), -8.0f * offset);
  FN_UNROLL
  for (size_t k = 0; k < int4::kNibbles; ++k) {
    float* sum = block.sum + first + k * int4::kWords + lane;
    store(hn::Add(load(sum), hn::MulAdd(sums[k], hn::Set(D(), int4::kDown[k % 4]), shift)), sum);
  }
}

void sum_int4(const BlockSum& block, size_t begin, size_t end) {
  const size_t groups = (end + kInt4Group - 1) / kInt4Group;
  const size_t whole = end / kInt4Group;
  for (size_t first = begin / kInt4Group; first < groups; first += 16) {
    const size_t last = first + 16 < groups ? first + 16 : groups;
    float factors[kTermsAtOnce][16];
    for (size_t t = 0; t < block.terms.size(); ++t) {
      load_scales(block.terms[t].row.scales + 2 * first, last - first, factors[t]);
      const V factor = hn::Set(D(), block.terms[t].factor);
      FN_UNROLL
      for (size_t i = 0; i < 16; i += kLanes) store(hn::Mul(factor, load(factors[t] + i)), factors[t] + i);
    }
    for (size_t g = first; g < last; ++g) {
      const size_t byte = g * int4::kGroupBytes;
      for (size_t lane = 0; lane < int4::kWords; lane += kLanes) {
        if (g < whole) {
          sum_words(block, factors, g - first, g, lane, [&](size_t t) {
            if (lane == 0) prefetch(block, t, byte, byte + int4::kGroupBytes);
            return hn::LoadU(U(), reinterpret_cast<const uint32_t*>(block.terms[t].row.values + byte) + lane);
          });
        } else {
          sum_words(block, factors, g - first, g, lane, [&](size_t t) {
            uint32_t words[int4::kWords] = {};
            std::memcpy(words, block.terms[t].row.values + byte, row_bytes(DType::kInt4, end % kInt4Group));
            return hn::LoadU(U(), words + lane);
          });
        }
      }
    }
  }
}

void sum_any(const BlockSum& block, DType dtype, size_t begin, size_t end) {
  if (dtype == DType::kInt4) return sum_int4(block, begin, end);
  as_elements(nullptr, dtype, [&](const auto* row) {
    sum_elements<std::remove_cv_t<std::remove_pointer_t<decltype(row)>>>(block, begin, end);
    return 0;
  });
}

#else

void sum_any(const BlockSum& block, DType dtype, size_t begin, size_t end) {
  reference::sum_block(block, dtype, begin, end);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace flashneuron::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flashneuron::kernels {

HWY_EXPORT(sum_any);

void sum_block(const BlockSum& block, DType dtype, size_t begin, size_t end) {
  if (begin >= end) return;
  const std::span<const Term> terms = block.terms;
  for (size_t first = 0; first == 0 || first < terms.size(); first += kTermsAtOnce) {
    const size_t count = std::min(kTermsAtOnce, terms.size() - first);
    const std::span<const Term> rest = terms.subspan(first + count);
    BlockSum group = block;
    group.terms = terms.subspan(first, count);
    group.next = rest.empty() ? block.next : rest;
    group.open = block.open || first > 0;
    if (!rest.empty()) group.sum = nullptr;
    HWY_DYNAMIC_DISPATCH(sum_any)(group, dtype, begin, end);
  }
}

}  // namespace flashneuron::kernels
#endif  // HWY_ONCE
