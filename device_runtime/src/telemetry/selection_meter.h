// How selections of one layer follow each other: what decides the traffic of a window (LLM in a flash, section 3.1:
// s_agg). Independent of caches and budgets, so that a run can say which activity its figures belong to.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace flashneuron {

class SelectionMeter {
 public:
  explicit SelectionMeter(uint32_t neuron_count) : last_used_(neuron_count, 0) {}

  // A token selected these neurons. O(selected).
  void touch(std::span<const uint32_t> selected);
  // Sums over the tokens since clear() that had `kSpan` - 1 tokens before them: how many, their selected neurons,
  // distinct neurons of each token and the kSpan - 1 before it, and of the token's neurons those that none of the kSpan
  // - 1 before it selected.
  struct Sums {
    int64_t tokens = 0;
    int64_t selected = 0;
    int64_t united = 0;
    int64_t fresh = 0;

    Sums& operator+=(const Sums& other);
  };
  const Sums& sums() const { return sums_; }
  // Forgets the sums, not what was selected before.
  void clear() { sums_ = {}; }

  static constexpr uint32_t kSpan = 5;  // tokens: the paper's window of 4, and the one at hand

 private:
  uint64_t now_ = 0;
  std::vector<uint64_t> last_used_;            // token number, 0: never
  std::array<int64_t, kSpan> last_used_at_{};  // neurons whose last use was token t, at t % kSpan
  Sums sums_;
};

}  // namespace flashneuron
