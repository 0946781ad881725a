// Which neurons stay: those of the last k tokens (LLM in a flash, section 3.1), or as many tokens as the capacity
// holds.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace flashneuron {

class WindowPolicy {
 public:
  // `window` in tokens, from 1; absent: nothing is evicted before its room is needed.
  WindowPolicy(uint32_t neuron_count, std::optional<uint32_t> window);

  // A token selected these neurons (ascending). Call once a token, before evictions() of that token.
  void touch(std::span<const uint32_t> selected);
  // Of the `cached` neurons, those to evict now so that the cached neurons selected by this token stay, neurons out of
  // the window go, and `room` more rows fit into `capacity` if that is possible; oldest first. Never evicts a neuron
  // that the current token selected.
  std::vector<uint32_t> evictions(std::span<const uint32_t> cached, uint32_t capacity, uint32_t room) const;
  // Neurons selected by at least one of the last k tokens (window), or by any token so far (no window).
  uint32_t union_size() const;
  void reset();

 private:
  bool in_window(uint32_t neuron) const;

  std::optional<uint32_t> window_;
  uint64_t now_ = 0;
  std::vector<uint64_t> last_used_;  // token number of the last selection, 0: never
};

}  // namespace flashneuron
