// Which neurons stay: those of the last k tokens (LLM in a flash, section 3.1), or as many tokens as the capacity
// holds; and pinned ones always.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "cache/neuron_cache.h"

namespace flashneuron {

class WindowPolicy {
 public:
  // `window` in tokens, from 1; absent: nothing is evicted before its room is needed.
  WindowPolicy(uint32_t neuron_count, std::optional<uint32_t> window);

  // The neuron is never evicted from now on, whether it is cached already or comes by later.
  void pin(uint32_t neuron);
  // Those of `neurons` (pinned) count as if they never had been. Not within a token. O(cached + neurons log neurons).
  void unpin(const NeuronCache& cache, std::span<const uint32_t> neurons);
  bool is_pinned(uint32_t neuron) const { return uses_[neuron].newer == kPinned; }
  // A token selected these neurons (ascending). Call once a token, before evictions() of that token. O(selected).
  void touch(std::span<const uint32_t> selected);
  // Until release() these neurons are not evicted: tokens of which it is not known yet whether they count use them.
  // Nothing else changes; tokens that count are touched afterwards.
  void hold(std::span<const uint32_t> neurons);
  void release() { ++hold_; }
  // The neuron's row was inserted into the cache. Call for every insertion.
  void admit(uint32_t neuron);
  // The neurons to evict from `cache` now so that those selected by this token stay, neurons out of the window go, and
  // `room` more rows fit if that is possible; oldest first. Never a pinned neuron, never one that the current token
  // selected or that is held. The caller evicts all of them. O(evicted), but for held neurons and those that were
  // touched and found no room.
  std::vector<uint32_t> evictions(const NeuronCache& cache, uint32_t room);
  // The neurons to evict between two tokens so that `rows` are left if that is possible: as evictions(), but for the
  // last token's, which may go too.
  std::vector<uint32_t> surplus(const NeuronCache& cache, uint32_t rows);
  // Neurons selected by at least one of the last k tokens (window), or by any token so far (no window). O(1).
  uint32_t union_size() const { return union_; }
  // Forgets all tokens and admissions, not what is pinned.
  void reset();

 private:
  struct Use {
    uint32_t last = 0;  // token number of the last selection, 0: never
    uint32_t held = 0;  // equal to hold_: held
    uint32_t older = kUnlinked;
    uint32_t newer = kUnlinked;
  };
  static constexpr uint32_t kUnlinked = UINT32_MAX;
  static constexpr uint32_t kPinned = UINT32_MAX - 1;

  bool in_window(uint32_t last_use) const { return last_use != 0 && (!window_ || now_ - last_use < *window_); }
  void count(uint32_t last_use);
  void unlink(uint32_t neuron);
  // Into the ring, next older to `newer`.
  void link(uint32_t neuron, uint32_t newer);
  // `excess` neurons if there are so many, and all that left the window; held ones and those of the last token only if
  // not `spare_last`.
  std::vector<uint32_t> leaving(const NeuronCache& cache, uint64_t excess, bool spare_last);

  uint32_t neurons_;
  std::optional<uint32_t> window_;
  uint32_t now_ = 0;
  uint32_t hold_ = 1;            // number of the present hold
  std::vector<Use> uses_;        // by neuron, then the ring's anchor: newer is the oldest, older the newest
  std::deque<uint32_t> unused_;  // admitted without being selected, in order of admission
  uint32_t union_ = 0;
  std::deque<uint32_t> last_uses_;  // with a window: for each of its tokens, neurons last selected by it
};

}  // namespace flashneuron
