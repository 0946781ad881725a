// Rounds x for dots of integer rows; see RowInput.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flashneuron::kernels {

constexpr float kLargestInteger = 32767.0f;
// integers and x are [count]; the result is the scale, 0 for zeros.
float round_input(const float* x, int16_t* integers, size_t count);

}  // namespace flashneuron::kernels
