#include "kernels/neuron.h"

#include <cmath>

namespace flashneuron::kernels {
namespace {

float silu(float value) { return value / (1.0f + std::exp(-value)); }

bool on_product(const ActivationRule& rule) {
  return rule.activation == Activation::kSilu && rule.on == ThresholdOn::kProduct;
}

}  // namespace

bool tests_gate(const ActivationRule& rule) { return rule.gated; }

bool tests_up(const ActivationRule& rule) {
  return !rule.gated || rule.activation == Activation::kDRelu || on_product(rule);
}

bool gate_passes(const ActivationRule& rule, float gate) {
  if (!rule.gated || on_product(rule)) return true;
  switch (rule.activation) {
    case Activation::kRelu:
    case Activation::kDRelu:
      return gate > 0;
    case Activation::kFatRelu:
      return gate > rule.threshold;
    case Activation::kSilu:
      return std::abs(silu(gate)) > rule.threshold;
  }
  return false;
}

bool fires(const ActivationRule& rule, float gate, float up) {
  if (on_product(rule)) return std::abs(silu(gate) * up) > rule.threshold;
  return gate_passes(rule, gate) && (!tests_up(rule) || up > 0);
}

float activation(const ActivationRule& rule, float gate, float up) {
  if (!fires(rule, gate, up)) return 0;
  if (!rule.gated) return up;
  return (rule.activation == Activation::kSilu ? silu(gate) : gate) * up;
}

}  // namespace flashneuron::kernels
