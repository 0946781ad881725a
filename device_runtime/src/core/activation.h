// What makes a neuron of an FFN fire, and what it then gives: the rule of one layer. FORMAT.md, "Neurons", has the
// formulas; kernels/neuron.h computes them.
#pragma once

#include <cstdint>

namespace flashneuron {

enum class Activation { kRelu, kFatRelu, kDRelu, kSilu };
enum class ThresholdOn { kGate, kProduct };

struct ActivationRule {
  Activation activation = Activation::kRelu;
  bool gated = false;                   // fatrelu, drelu and silu always are
  ThresholdOn on = ThresholdOn::kGate;  // of silu
  float threshold = 0;                  // of fatrelu and silu, from 0
};

// Rows of hidden_size elements that a neuron has: (gate row,) up row, down column.
constexpr uint32_t bundle_rows(bool gated) { return gated ? 3 : 2; }

}  // namespace flashneuron
