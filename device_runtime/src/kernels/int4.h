// Where int4's elements stand in the orders of weights.h.
#pragma once

#include <cstddef>

#include "core/dtype.h"

namespace flashneuron::kernels::int4 {

constexpr size_t kWords = 16;   // of a group
constexpr size_t kNibbles = 8;  // of a word
constexpr size_t kShorts = 32;  // half words of a group
constexpr size_t kStride = 144;
constexpr size_t kGroupBytes = kInt4Group / 2;
static_assert(kWords * kNibbles == kInt4Group);

// In sums a nibble is used where it lies in its half word, as n * kUp[k % 4]; kDown takes that back. Both are exact.
constexpr float kUp[] = {1.0f, 16.0f, 256.0f, 4096.0f};
constexpr float kDown[] = {1.0f, 1.0f / 16.0f, 1.0f / 256.0f, 1.0f / 4096.0f};

constexpr size_t place(size_t i) {
  const size_t element = i % kInt4Group;
  return i / kInt4Group * kStride + element % kNibbles * kWords + element / kNibbles;
}

constexpr size_t place_of_input(size_t i) {
  const size_t element = i % kInt4Group;
  return i - element + element % 4 * kShorts + element / 4;
}

}  // namespace flashneuron::kernels::int4
