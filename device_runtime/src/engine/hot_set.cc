// A least-recently-used cache holds what was selected within its characteristic time of T tokens (Che's approximation):
// a neuron that a token selects with probability p is there with probability 1 - (1 - p)^T, so the cache needs the sum
// of these in rows, and T follows from the rows.
//
// Pinning costs a neuron a whole row and saves all of its misses. Whoever is expected at least once in T tokens
// (p T >= 1) nearly holds its row anyway, so it is pinned: it can be loaded in order at the start, costs no
// bookkeeping, and a run of unusual tokens cannot push it out. Were selections independent, pinning only the most
// frequent would be best; text comes in bursts, which the rows left to the window catch (bench/README.md has both).
//
// T is the same for all layers, which makes them compete for rows: one level of frequency, 1 / (T + 1), divides pinned
// from windowed neurons everywhere, and a layer's window has the rows that its other neurons need for T tokens. So one
// equation is left, rows(T) = total_rows, and rows(T) only grows.
#include "engine/hot_set.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace flashneuron {
namespace {

// A neuron that no calibration token selected may still be selected: with enough rows it gets one too.
constexpr double kLeast = 1e-6;
constexpr double kMost = 1 - 1e-9;  // keeps logarithms finite
constexpr double kLongest = 1e9;    // tokens: at kLeast, all rows are wanted

struct Neuron {
  float frequency;
  uint32_t layer;
  uint32_t index;
};

double probability(float frequency) { return std::clamp(static_cast<double>(frequency), kLeast, kMost); }

// Share of the time that the neuron's row is in a cache of characteristic time `tokens`.
double presence(double p, double tokens) { return -std::expm1(tokens * std::log1p(-p)); }

// How many neurons have which frequency; frequencies are counts of calibration tokens, so there are few values.
using Histogram = std::map<float, uint64_t>;

Histogram histogram_of(std::span<const Neuron> neurons) {
  Histogram histogram;
  for (const Neuron& neuron : neurons) ++histogram[neuron.frequency];
  return histogram;
}

bool is_hot(double p, double tokens) { return p * (tokens + 1) >= kMost; }

// The characteristic time at which the neurons take `rows` rows; `pins`: hot ones take a whole one.
double characteristic_time(const Histogram& histogram, double rows, bool pins) {
  const auto wanted = [&](double tokens) {
    double sum = 0;
    for (const auto& [frequency, count] : histogram) {
      const double p = probability(frequency);
      sum += static_cast<double>(count) * (pins && is_hot(p, tokens) ? 1 : presence(p, tokens));
    }
    return sum;
  };
  double low = 1e-6;
  double high = kLongest;
  if (wanted(high) <= rows) return high;
  for (int step = 0; step < 60; ++step) {
    const double middle = std::sqrt(low * high);
    (wanted(middle) <= rows ? low : high) = middle;
  }
  return low;
}

}  // namespace

NeuronShares share_by_frequency(std::span<const std::vector<float>> frequency, uint64_t total_rows,
                                std::optional<double> hot) {
  std::vector<Neuron> neurons;
  for (uint32_t layer = 0; layer < frequency.size(); ++layer) {
    for (uint32_t index = 0; index < frequency[layer].size(); ++index) {
      neurons.push_back({frequency[layer][index], layer, index});
    }
  }
  total_rows = std::min<uint64_t>(total_rows, neurons.size());
  std::stable_sort(neurons.begin(), neurons.end(),
                   [](const Neuron& a, const Neuron& b) { return a.frequency > b.frequency; });

  const auto rows = static_cast<double>(total_rows);
  uint64_t pinned = 0;
  if (hot) {
    pinned = static_cast<uint64_t>(std::clamp(*hot, 0.0, 1.0) * rows);
  } else {
    const double tokens = characteristic_time(histogram_of(neurons), rows, true);
    while (pinned < total_rows && is_hot(probability(neurons[pinned].frequency), tokens)) ++pinned;
  }

  NeuronShares shares;
  shares.pinned.resize(frequency.size());
  for (uint64_t i = 0; i < pinned; ++i) shares.pinned[neurons[i].layer].push_back(neurons[i].index);
  for (std::vector<uint32_t>& layer : shares.pinned) std::sort(layer.begin(), layer.end());

  const std::span<const Neuron> others = std::span<const Neuron>(neurons).subspan(pinned);
  const uint64_t left = total_rows - pinned;
  const double tokens = characteristic_time(histogram_of(others), static_cast<double>(left), false);
  std::vector<double> windows(frequency.size(), 0.0);
  for (const Neuron& neuron : others) windows[neuron.layer] += presence(probability(neuron.frequency), tokens);
  for (size_t layer = 0; layer < frequency.size(); ++layer) {
    const uint64_t all = frequency[layer].size() - shares.pinned[layer].size();
    const uint64_t window =
        left == others.size() ? all : std::min<uint64_t>(all, static_cast<uint64_t>(windows[layer]));
    shares.capacity_rows.push_back(static_cast<uint32_t>(shares.pinned[layer].size() + window));
  }
  return shares;
}

}  // namespace flashneuron
