// Element types of weights on flash and of the KV cache.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flashneuron {

// The values are the ones written in FORMAT.md.
enum class DType : uint32_t { kFp32 = 0, kFp16 = 1 };

constexpr size_t element_bytes(DType dtype) { return dtype == DType::kFp32 ? 4 : 2; }

}  // namespace flashneuron
