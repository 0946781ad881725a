// The operators flashneuron::attention.out and flashneuron::attention_alibi.out (FORMAT.md, "Attention programs") as
// ExecuTorch kernels.
#pragma once

#include <executorch/runtime/kernel/operator_registry.h>

#include <array>

namespace flashneuron {

// To be given to Program::load_method. They run on ExecuTorch's own threads and read rows 0 … position-1 of the caches
// only. Inputs that do not fit each other fail the call (InvalidArgument).
std::array<executorch::runtime::Kernel, 2> attention_kernels();

}  // namespace flashneuron
