// The scalar kernels: what the vector kernels are tested against, and what machines without fused multiply-add run.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/fp16.h"
#include "kernels/kernels.h"

namespace flashneuron::kernels::reference {
namespace {

// Element i of a row that may start at any address.
float load(const std::byte* weights, DType dtype, size_t i) {
  if (dtype == DType::kFp32) {
    float value;
    std::memcpy(&value, weights + i * sizeof(value), sizeof(value));
    return value;
  }
  uint16_t half;
  std::memcpy(&half, weights + i * sizeof(half), sizeof(half));
  return half_to_float(half);
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
  for (size_t half = kDotLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
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
    const uint16_t half = float_to_half(source[i]);
    std::memcpy(destination + i * sizeof(half), &half, sizeof(half));
  }
}

}  // namespace flashneuron::kernels::reference
