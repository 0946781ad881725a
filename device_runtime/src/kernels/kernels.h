// Vector kernels with run-time dispatch (Google Highway). Each has a scalar reference of the same signature in
// `reference` that gives the same bits. For given inputs a kernel's bits depend on nothing else: not on threads,
// alignment, or the width of the machine's vectors. Any address will do for weights, x and y; they must not overlap.
#pragma once

#include <cstddef>
#include <string>

#include "core/dtype.h"

namespace flashneuron::kernels {

// sum of weights[i] * x[i], i < count, in fp32. Element i goes into lane i % kDotLanes by fma in ascending order, zeros
// fill the last round, and the lanes are folded by halves: lane[j] += lane[j + 16], then 8, 4, 2, 1. Not for
// int8 and int4, which have weights.h.
constexpr size_t kDotLanes = 32;
float dot(const std::byte* weights, DType dtype, const float* x, size_t count);

// y[i] = fma(scale, weights[i], y[i]). One fused operation an element, so that any split over i gives the same bits.
// Not for int4.
void axpy(float scale, const std::byte* weights, DType dtype, float* y, size_t count);

// y[i] += x[i]
void add(const float* x, float* y, size_t count);

// Conversions of `count` elements of a float type, to_fp32 also of int8 without its scale; fp16 and bf16 round to
// nearest even.
void to_fp32(const std::byte* source, DType dtype, float* destination, size_t count);
void from_fp32(const float* source, DType dtype, std::byte* destination, size_t count);

// out[i] = x[i] * (127 / max |x|), halves to even, as int8; the result is their scale, max |x| / 127. Values too small
// for the factor to be a number become zeros of scale 0. x is finite.
float round_int8(const float* x, std::byte* out, size_t count);

// The instruction set in use, for instance "AVX2".
std::string target_name();

namespace reference {
float dot(const std::byte* weights, DType dtype, const float* x, size_t count);
void axpy(float scale, const std::byte* weights, DType dtype, float* y, size_t count);
void add(const float* x, float* y, size_t count);
void to_fp32(const std::byte* source, DType dtype, float* destination, size_t count);
void from_fp32(const float* source, DType dtype, std::byte* destination, size_t count);
float round_int8(const float* x, std::byte* out, size_t count);
}  // namespace reference

}  // namespace flashneuron::kernels
