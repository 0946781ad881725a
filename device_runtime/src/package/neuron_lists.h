// One number per neuron of a layer (FORMAT.md): places on flash and frequencies.
#pragma once

#include <cstdint>
#include <vector>

#include "flashneuron/status.h"
#include "package/package.h"

namespace flashneuron {

// places[n] is where neuron n lies in `variant`; empty: at its index. Errors: kIo, kCorrupt (no permutation).
Result<std::vector<uint32_t>> read_places(const Package& package, const FfnVariant& variant, uint32_t layer);
// frequency[n] is the share of tokens that select neuron n. Precondition: the package has frequencies. Errors: kIo,
// kCorrupt (no share).
Result<std::vector<float>> read_frequency(const Package& package, uint32_t layer);

}  // namespace flashneuron
