// One neuron of a ReLU FFN.
#pragma once

#include "kernels/weights.h"

namespace flashneuron::kernels {

// relu(up·x + bias); the neuron fires iff this is over 0 (NaN does not fire). The one definition, so that the FFN and
// the oracle predictor agree to the bit on which neurons fire. `input` and `next` as in dot_row.
inline float relu_activation(WeightRow up, DType dtype, const float* input, size_t count, float bias,
                             const std::byte* next = nullptr) {
  const float value = dot_row(up, dtype, input, count, next) + bias;
  return value > 0 ? value : 0;
}

}  // namespace flashneuron::kernels
