// The scalar kernels: what the vector kernels are tested against, and what machines without fused multiply-add run.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/fp16.h"
#include "kernels/int4.h"
#include "kernels/kernels.h"
#include "kernels/round_input.h"
#include "kernels/weights.h"

namespace flashneuron::kernels::reference {
namespace {

template <typename T>
T load_as(const std::byte* row, size_t i) {  // element i of a row that may start at any address
  T value;
  std::memcpy(&value, row + i * sizeof(T), sizeof(T));
  return value;
}

float load(const std::byte* weights, DType dtype, size_t i) {
  if (dtype == DType::kFp32) return load_as<float>(weights, i);
  if (dtype == DType::kFp16) return half_to_float(load_as<uint16_t>(weights, i));
  if (dtype == DType::kBf16) return bfloat_to_float(load_as<uint16_t>(weights, i));
  return static_cast<float>(load_as<int8_t>(weights, i));
}

int32_t nibble(const std::byte* row, size_t i) {
  const auto both = std::to_integer<int32_t>(row[i / 2]);
  return i % 2 == 0 ? both & 15 : both >> 4;
}

template <size_t kLanes>
float fold(float (&lanes)[kLanes]) {
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

float dot_int4(WeightRow row, const RowInput& input) {
  float total[int4::kWords] = {};
  for (size_t first = 0; first < input.count(); first += kInt4Group) {
    const float scale = half_to_float(load_as<uint16_t>(row.scales, first / kInt4Group));
    for (size_t j = 0; j < int4::kWords; ++j) {
      int32_t sum = input.offsets()[first / int4::kNibbles + j];
      for (size_t i = first + int4::kNibbles * j; i < first + int4::kNibbles * (j + 1) && i < input.count(); ++i) {
        sum += nibble(row.values, i) * input.integers()[int4::place_of_input(i)];
      }
      total[j] = std::fma(scale, static_cast<float>(sum), total[j]);
    }
  }
  return input.scale() * fold(total);
}

float dot_int8(WeightRow row, const RowInput& input) {
  float total = 0;
  for (size_t first = 0; first < input.count(); first += kIntegerChunk) {
    int32_t sum = 0;
    for (size_t i = first; i < std::min(input.count(), first + kIntegerChunk); ++i) {
      sum += load_as<int8_t>(row.values, i) * input.integers()[i];
    }
    total += static_cast<float>(sum);
  }
  return load_as<float>(row.scales, 0) * input.scale() * total;
}

void sum_int4(const BlockSum& block, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) {
    float* kept = block.partial + int4::place(i);
    float* kept_offset = block.partial + i / kInt4Group * int4::kStride + kInt4Group;
    const size_t t = i % int4::kNibbles % 4;
    float p = block.open ? *kept : 0.0f;
    float offset = block.open ? *kept_offset : 0.0f;
    for (const Term& term : block.terms) {
      const float f = term.factor * half_to_float(load_as<uint16_t>(term.row.scales, i / kInt4Group));
      p = std::fma(f, static_cast<float>(nibble(term.row.values, i)) * int4::kUp[t], p);
      offset += f;
    }
    if (block.sum != nullptr) {
      block.sum[int4::place(i)] += std::fma(p, int4::kDown[t], -8.0f * offset);
    } else {
      *kept = p;
      // The group's other elements still read the offset that was there before.
      if (i + 1 == end || (i + 1) % kInt4Group == 0) *kept_offset = offset;
    }
  }
}

}  // namespace

float dot(const std::byte* weights, DType dtype, const float* x, size_t count) {
  float lanes[kDotLanes] = {};
  for (size_t start = 0; start < count; start += kDotLanes) {
    for (size_t lane = 0; lane < kDotLanes; ++lane) {
      const size_t i = start + lane;
      lanes[lane] = i < count ? std::fma(load(weights, dtype, i), x[i], lanes[lane]) : lanes[lane] + 0.0f;
    }
  }
  return fold(lanes);
}

float dot_row(WeightRow row, const RowInput& input) {
  if (input.dtype() == DType::kInt4) return dot_int4(row, input);
  if (input.dtype() == DType::kInt8) return dot_int8(row, input);
  return dot(row.values, input.dtype(), input.x(), input.count());
}

float round_input(const float* x, int16_t* integers, size_t count) {
  float largest = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  const float factor = largest > 0 ? kLargestInteger / largest : 0.0f;
  for (size_t i = 0; i < count; ++i) integers[i] = static_cast<int16_t>(std::nearbyint(x[i] * factor));
  return largest / kLargestInteger;
}

void sum_block(const BlockSum& block, DType dtype, size_t begin, size_t end) {
  if (dtype == DType::kInt4) return sum_int4(block, begin, end);
  for (size_t i = begin; i < end; ++i) {
    float p = block.open ? block.partial[i] : 0.0f;
    for (const Term& term : block.terms) {
      const float f = dtype == DType::kInt8 ? term.factor * load_as<float>(term.row.scales, 0) : term.factor;
      p = std::fma(f, load(term.row.values, dtype, i), p);
    }
    if (block.sum != nullptr) {
      block.sum[i] += p;
    } else {
      block.partial[i] = p;
    }
  }
}

void axpy(float scale, const std::byte* weights, DType dtype, float* y, size_t count) {
  for (size_t i = 0; i < count; ++i) y[i] = std::fma(scale, load(weights, dtype, i), y[i]);
}

void add(const float* x, float* y, size_t count) {
  for (size_t i = 0; i < count; ++i) y[i] += x[i];
}

void to_fp32(const std::byte* source, DType dtype, float* destination, size_t count) {
  for (size_t i = 0; i < count; ++i) destination[i] = load(source, dtype, i);
}

void from_fp32(const float* source, DType dtype, std::byte* destination, size_t count) {
  if (dtype == DType::kFp32) {
    std::copy_n(reinterpret_cast<const std::byte*>(source), count * sizeof(float), destination);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const uint16_t half = dtype == DType::kFp16 ? float_to_half(source[i]) : float_to_bfloat(source[i]);
    std::memcpy(destination + i * sizeof(half), &half, sizeof(half));
  }
}

float round_int8(const float* x, std::byte* out, size_t count) {
  float largest = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  const float factor = 127.0f / largest;
  const bool zeros = !std::isfinite(factor);
  for (size_t i = 0; i < count; ++i) {
    out[i] = zeros ? std::byte{0} : static_cast<std::byte>(static_cast<int8_t>(std::nearbyint(x[i] * factor)));
  }
  return zeros ? 0.0f : largest / 127.0f;
}

}  // namespace flashneuron::kernels::reference
