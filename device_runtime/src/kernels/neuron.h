// One neuron of a ReLU FFN.
#pragma once

#include "kernels/kernels.h"

namespace flashneuron::kernels {

// relu(up·x + bias); the neuron fires iff this is over 0 (NaN does not fire). The one definition, so that the FFN and
// the oracle predictor agree to the bit on which neurons fire.
inline float relu_activation(const std::byte* up, DType dtype, const float* x, size_t count, float bias) {
  const float value = dot(up, dtype, x, count) + bias;
  return value > 0 ? value : 0;
}

}  // namespace flashneuron::kernels
