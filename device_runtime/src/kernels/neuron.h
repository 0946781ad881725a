// One neuron of an FFN, from the products of its rows with an input: the one definition of what fires and of what it
// gives, compiled once, so that the FFN and the oracle predictor agree to the bit.
#pragma once

#include "core/activation.h"

namespace flashneuron::kernels {

// `gate` is gate·x (any number without a gate), `up` is up·x + bias. A NaN where the rule tests does not fire.
bool fires(const ActivationRule& rule, float gate, float up);
// The neuron's hidden value, the factor of its down column; 0 where it does not fire.
float activation(const ActivationRule& rule, float gate, float up);

// Whether the gate lets the neuron fire: if not, it does not whatever `up` is.
bool gate_passes(const ActivationRule& rule, float gate);
// Which of the two products decide whether a neuron fires.
bool tests_gate(const ActivationRule& rule);
bool tests_up(const ActivationRule& rule);

}  // namespace flashneuron::kernels
