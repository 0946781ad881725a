// One neuron of a ReLU FFN.
#pragma once

#include "kernels/weights.h"

namespace flashneuron::kernels {

// relu(up·x + bias); the neuron fires iff this is over 0 (NaN does not fire). The one definition, so that the FFN and
// the oracle predictor agree to the bit on which neurons fire.
inline float relu_activation(float product, float bias) {
  const float value = product + bias;
  return value > 0 ? value : 0;
}

}  // namespace flashneuron::kernels
