// Which neurons are pinned, and how many rows each layer gets, from how often neurons are selected. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace flashneuron {

struct NeuronShares {
  std::vector<uint32_t> capacity_rows;        // per layer, pinned ones among them
  std::vector<std::vector<uint32_t>> pinned;  // per layer, ascending
};

// `frequency`: per layer, each neuron's share of tokens that select it; `total_rows` cache rows are shared among all
// layers. `hot`: the share of them that is pinned, 0 to 1; absent: chosen. More rows never mean fewer in a layer.
NeuronShares share_by_frequency(std::span<const std::vector<float>> frequency, uint64_t total_rows,
                                std::optional<double> hot);

}  // namespace flashneuron
