// Every kind of neuron that a package may have, and what FORMAT.md says that it gives: written without the kernels.
#pragma once

#include <array>
#include <cmath>
#include <string>

#include "core/activation.h"

namespace flashneuron::testing {

// Thresholds such that inputs of variance 1 and products of variance 1 leave many neurons silent.
inline constexpr std::array kRules = {
    ActivationRule{},
    ActivationRule{Activation::kRelu, true, ThresholdOn::kGate, 0},
    ActivationRule{Activation::kFatRelu, true, ThresholdOn::kGate, 0.3f},
    ActivationRule{Activation::kDRelu, true, ThresholdOn::kGate, 0},
    ActivationRule{Activation::kSilu, true, ThresholdOn::kGate, 0.25f},
    ActivationRule{Activation::kSilu, true, ThresholdOn::kProduct, 0.2f},
};

inline std::string name_of(const ActivationRule& rule) {
  switch (rule.activation) {
    case Activation::kRelu:
      return rule.gated ? "GatedRelu" : "Relu";
    case Activation::kFatRelu:
      return "FatRelu";
    case Activation::kDRelu:
      return "DRelu";
    case Activation::kSilu:
      return rule.on == ThresholdOn::kGate ? "SiluOnGate" : "SiluOnProduct";
  }
  return {};
}

// `up` includes the bias.
inline float hidden_value(const ActivationRule& rule, float gate, float up) {
  const float silu = gate / (1.0f + std::exp(-gate));
  switch (rule.activation) {
    case Activation::kRelu:
      if (!rule.gated) return up > 0 ? up : 0;
      return gate > 0 ? gate * up : 0;
    case Activation::kFatRelu:
      return gate > rule.threshold ? gate * up : 0;
    case Activation::kDRelu:
      return gate > 0 && up > 0 ? gate * up : 0;
    case Activation::kSilu:
      return std::abs(rule.on == ThresholdOn::kGate ? silu : silu * up) > rule.threshold ? silu * up : 0;
  }
  return 0;
}

}  // namespace flashneuron::testing
