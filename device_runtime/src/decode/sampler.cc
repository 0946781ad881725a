#include "decode/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace flashneuron {
namespace {

int32_t greedy(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best] || std::isnan(logits[best])) best = i;
  }
  return static_cast<int32_t>(best);
}

}  // namespace

Sampler::Sampler(const Sampling& sampling)
    : temperature_(sampling.temperature),
      top_k_(sampling.top_k > 0 ? static_cast<size_t>(sampling.top_k) : std::numeric_limits<size_t>::max()),
      top_p_(sampling.top_p),
      generator_(sampling.seed) {}

int32_t Sampler::sample(std::span<const float> logits) {
  const int32_t best = greedy(logits);
  const double largest = logits[static_cast<size_t>(best)];
  if (!(temperature_ > 0) || !std::isfinite(largest)) return best;

  weights_.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    const double weight = std::exp((logits[i] - largest) / temperature_);
    weights_[i] = weight > 0 ? weight : 0;
  }
  heap_.resize(logits.size());
  std::iota(heap_.begin(), heap_.end(), 0);
  const auto less_likely = [this](int32_t left, int32_t right) {
    const double of_left = weights_[static_cast<size_t>(left)];
    const double of_right = weights_[static_cast<size_t>(right)];
    return of_left != of_right ? of_left < of_right : left > right;
  };
  std::make_heap(heap_.begin(), heap_.end(), less_likely);

  // Tokens come off the heap only as far as the filters and the draw ask: kept(i) is the i-th most likely, and lies at
  // the end of heap_ once taken.
  size_t taken = 0;
  const auto kept = [&](size_t i) {
    for (; taken <= i; ++taken) std::pop_heap(heap_.begin(), heap_.end() - static_cast<ptrdiff_t>(taken), less_likely);
    return heap_[heap_.size() - 1 - i];
  };
  const auto weight_of = [&](size_t i) { return weights_[static_cast<size_t>(kept(i))]; };

  size_t count = std::min(top_k_, logits.size());
  double mass = 0;
  if (count == logits.size()) {
    mass = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  } else {
    for (size_t i = 0; i < count; ++i) mass += weight_of(i);
  }
  if (top_p_ < 1) {
    const double enough = top_p_ * mass;
    size_t nucleus = 0;
    mass = 0;
    while (nucleus < count && (nucleus == 0 || mass < enough)) mass += weight_of(nucleus++);
    count = nucleus;
  }

  const double target = mass * (static_cast<double>(generator_() >> 11) * 0x1p-53);
  double cumulative = 0;
  int32_t token = best;
  for (size_t i = 0; i < count && cumulative <= target && weight_of(i) > 0; ++i) {
    cumulative += weight_of(i);
    token = kept(i);
  }
  return token;
}

}  // namespace flashneuron
