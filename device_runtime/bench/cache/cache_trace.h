// Random selections of one layer's neurons, token by token, and what a cache makes of them.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace flashneuron::bench {

// A neuron is selected when a Gaussian exceeds the threshold that gives its frequency. `memory` is the share of the
// Gaussian's variance that stays from token to token (autocorrelation `persistence`): 0 makes tokens independent.
struct TraceOptions {
  uint32_t neurons = 16384;
  double memory = 0;
  double persistence = 0.95;
  // Frequencies are Beta(a, b): selected 10 %, union of 5 tokens 24 %, as published of OPT-6.7B.
  double a = 0.17;
  double b = 1.53;
  uint32_t seed = 1;
};

class Trace {
 public:
  explicit Trace(const TraceOptions& options);
  // The next token's neurons, ascending. Valid until the next call.
  const std::vector<uint32_t>& next();
  // What each neuron is selected with.
  const std::vector<float>& frequency() const { return frequency_; }

 private:
  TraceOptions options_;
  std::mt19937_64 random_;
  std::vector<float> frequency_;
  std::vector<float> threshold_;
  std::vector<float> state_;
  std::vector<uint32_t> selected_;
};

// One layer's cache as the decode loop uses it: touch, evict, insert.
struct CacheRun {
  double misses = 0;  // per token, as a share of the neurons
  double pinned = 0;  // share of the rows
};

// Mean over `tokens` tokens after `warm_up`. Rows: `capacity` of the neurons; `window` absent: least recently used;
// `hot` absent: chosen from the frequencies.
CacheRun run_cache(const TraceOptions& options, double capacity, std::optional<uint32_t> window,
                   std::optional<double> hot, uint32_t warm_up, uint32_t tokens);

}  // namespace flashneuron::bench
