// IEEE half precision and bfloat16 by integer arithmetic, for references, tails and tests; vectors use the CPU's
// instructions.
#pragma once

#include <bit>
#include <cstdint>

namespace flashneuron::kernels {

// Exact. A signalling NaN becomes quiet, as CPUs do it; its payload stays.
constexpr float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1Fu;
  const uint32_t fraction = half & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (fraction ? 0x400000u : 0u) | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

// Rounds to nearest, ties to even. From 65520 on the result is infinity; half's subnormals are kept; NaN stays NaN.
constexpr uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  const auto finish = [sign](uint32_t half) { return static_cast<uint16_t>(sign | half); };
  if (magnitude > 0x7F800000u) return finish(0x7E00u | (magnitude >> 13 & 0x1FFu));  // NaN, quiet
  if (magnitude >= 0x477FF000u) return finish(0x7C00u);                              // 65520, halfway to 2^16
  if (magnitude < 0x33000000u) return finish(0);                                     // below 2^-25
  const uint32_t exponent = magnitude >> 23;
  // The fraction with its leading one, and how many of its low bits the result does not keep.
  const uint32_t fraction = exponent >= 113 ? magnitude - (112u << 23) : (magnitude & 0x7FFFFFu) | 0x800000u;
  const uint32_t drop = exponent >= 113 ? 13 : 126 - exponent;
  const uint32_t kept = fraction >> drop;
  const uint32_t rest = fraction & ((1u << drop) - 1);
  const uint32_t half_way = 1u << (drop - 1);
  // A carry out of the fraction goes into the exponent, which is the right answer.
  return finish(kept + (rest > half_way || (rest == half_way && (kept & 1u)) ? 1u : 0u));
}

// Exact.
constexpr float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// Rounds to nearest, ties to even; NaN stays NaN.
constexpr uint16_t float_to_bfloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace flashneuron::kernels
