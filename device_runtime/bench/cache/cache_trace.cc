#include "cache_trace.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "cache/neuron_cache.h"
#include "cache/window_policy.h"
#include "engine/hot_set.h"

namespace flashneuron::bench {
namespace {

// The t for which a standard Gaussian exceeds t with probability p, by bisection.
float threshold_of(double p) {
  double low = -9;
  double high = 9;
  for (int step = 0; step < 60; ++step) {
    const double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0)) / 2 > p ? low : high) = middle;
  }
  return static_cast<float>(low);
}

}  // namespace

Trace::Trace(const TraceOptions& options) : options_(options), random_(options.seed) {
  std::gamma_distribution<double> first(options.a, 1);
  std::gamma_distribution<double> second(options.b, 1);
  std::normal_distribution<float> normal;
  for (uint32_t n = 0; n < options.neurons; ++n) {
    const double x = first(random_);
    const double y = second(random_);
    const double p = std::clamp(x / (x + y), 1e-9, 1 - 1e-9);
    frequency_.push_back(static_cast<float>(p));
    threshold_.push_back(threshold_of(p));
    state_.push_back(normal(random_));
  }
}

const std::vector<uint32_t>& Trace::next() {
  std::normal_distribution<float> normal;
  const auto keep = static_cast<float>(options_.persistence);
  const float renew = std::sqrt(1 - keep * keep);
  const auto from_state = static_cast<float>(std::sqrt(options_.memory));
  const auto fresh = static_cast<float>(std::sqrt(1 - options_.memory));
  selected_.clear();
  for (uint32_t n = 0; n < options_.neurons; ++n) {
    if (options_.memory > 0) state_[n] = keep * state_[n] + renew * normal(random_);
    if (from_state * state_[n] + fresh * normal(random_) > threshold_[n]) selected_.push_back(n);
  }
  return selected_;
}

CacheRun run_cache(const TraceOptions& options, double capacity, std::optional<uint32_t> window,
                   std::optional<double> hot, uint32_t warm_up, uint32_t tokens) {
  Trace trace(options);
  const auto rows = static_cast<uint32_t>(capacity * options.neurons);
  const NeuronShares shares = share_by_frequency(std::span(&trace.frequency(), 1), rows, hot);
  NeuronCache cache = std::move(NeuronCache::create(options.neurons, rows, 64)).value();
  WindowPolicy policy(options.neurons, window);
  const auto insert = [&](uint32_t neuron) {
    cache.insert(neuron);
    policy.admit(neuron);
  };
  for (const uint32_t neuron : shares.pinned.front()) {
    policy.pin(neuron);
    insert(neuron);
  }
  uint64_t missed = 0;
  std::vector<uint32_t> misses;
  for (uint32_t token = 0; token < warm_up + tokens; ++token) {
    const std::vector<uint32_t>& selected = trace.next();
    misses.clear();
    for (const uint32_t neuron : selected) {
      if (!cache.contains(neuron)) misses.push_back(neuron);
    }
    policy.touch(selected);
    for (const uint32_t neuron : policy.evictions(cache, static_cast<uint32_t>(misses.size()))) cache.evict(neuron);
    for (const uint32_t neuron : misses) {
      if (cache.size() < cache.capacity()) insert(neuron);
    }
    if (token >= warm_up) missed += misses.size();
  }
  return {static_cast<double>(missed) / tokens / options.neurons,
          static_cast<double>(shares.pinned.front().size()) / rows};
}

}  // namespace flashneuron::bench
