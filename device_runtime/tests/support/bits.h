// Floats that are equal to the bit: NaN equals itself, 0 and -0 differ.
#pragma once

#include <cstring>
#include <vector>

namespace flashneuron::testing {

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace flashneuron::testing
