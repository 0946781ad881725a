// The operator flashneuron::attention.out (FORMAT.md, "Attention programs") as an ExecuTorch kernel.
#pragma once

#include <executorch/runtime/kernel/operator_registry.h>

namespace flashneuron {

// To be given to Program::load_method. It runs on ExecuTorch's own threads and reads rows 0 … position-1 of the caches
// only. Inputs that do not fit each other fail the call (InvalidArgument).
executorch::runtime::Kernel attention_kernel();

}  // namespace flashneuron
