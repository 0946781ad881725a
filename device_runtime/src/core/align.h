// Rounding to powers of two.
#pragma once

#include <cstdint>

namespace flashneuron {

// Precondition of both: `unit` is a power of two. round_up(5, 4) == 8, round_down(5, 4) == 4.
constexpr uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) & ~(unit - 1); }
constexpr uint64_t round_down(uint64_t value, uint64_t unit) { return value & ~(unit - 1); }

}  // namespace flashneuron
