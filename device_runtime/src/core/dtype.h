// Element types of weights on flash and of the KV cache, and how many bytes a row of them takes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flashneuron {

// The values are the ones written in FORMAT.md. int8 and int4 are signed integers times scales that lie apart.
enum class DType : uint32_t { kFp32 = 0, kFp16 = 1, kBf16 = 2, kInt8 = 3, kInt4 = 4 };
constexpr uint32_t kMaxDType = 4;

// Elements of an int4 row that share a scale; the last group of a row may be shorter.
constexpr size_t kInt4Group = 128;

// Bytes of one element. Precondition: a type whose elements are whole bytes; rows of any type: row_bytes.
constexpr size_t element_bytes(DType dtype) { return dtype == DType::kFp32 ? 4 : dtype == DType::kInt8 ? 1 : 2; }

constexpr bool has_scales(DType dtype) { return dtype == DType::kInt8 || dtype == DType::kInt4; }

// Bytes of a row of `count` elements; two int4 elements share a byte.
constexpr size_t row_bytes(DType dtype, size_t count) {
  switch (dtype) {
    case DType::kFp32:
      return 4 * count;
    case DType::kFp16:
    case DType::kBf16:
      return 2 * count;
    case DType::kInt8:
      return count;
    case DType::kInt4:
      return (count + 1) / 2;
  }
  return 0;
}

// Bytes of a row's scales: none for floats, one fp32 for int8, one fp16 a group for int4.
constexpr size_t scale_bytes(DType dtype, size_t count) {
  if (dtype == DType::kInt8) return 4;
  if (dtype == DType::kInt4) return 2 * ((count + kInt4Group - 1) / kInt4Group);
  return 0;
}

}  // namespace flashneuron
