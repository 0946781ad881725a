// From logits to the next token.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "flashneuron/options.h"

namespace flashneuron {

// Temperature 0 takes the largest logit, the lowest id of equals. Otherwise, in this order: softmax of logits /
// temperature; top_k keeps the k most likely tokens; top_p keeps the fewest of those whose share reaches p, with the
// token that crosses it; then one draw. Equals rank by id.
//
// Draws are the same everywhere for a seed: std::mt19937_64, its upper 53 bits scaled to [0, 1) and then to the mass of
// the kept tokens, looked up in their cumulative sum from the most likely down. Greedy choices draw nothing.
class Sampler {
 public:
  explicit Sampler(const Sampling& sampling);
  // Precondition: `logits` is not empty. NaN counts as impossible.
  int32_t sample(std::span<const float> logits);

 private:
  float temperature_;
  size_t top_k_;
  double top_p_;
  std::mt19937_64 generator_;
  std::vector<double> weights_;  // of each token, before normalisation
  std::vector<int32_t> heap_;    // token ids, the most likely first
};

}  // namespace flashneuron
