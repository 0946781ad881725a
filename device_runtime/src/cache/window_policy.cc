// Time is counted in tokens: touch() is token 1, 2, …; a neuron's last use is the last token that selected it.
//
// At token t with window k a neuron is pinned for good, or in one of four states:
//   current   last use = t                 never evicted
//   in window t - k < last use < t         evicted only when the room is needed
//   expired   0 < last use <= t - k        evicted now, even when there is room: its bytes buy more elsewhere
//   unused    admitted, never selected     treated as expired
// touch() makes the selected neurons current and all others one token older. Without a window nothing expires: expired
// and unused neurons count as in window, and the policy is least recently used.
//
// Tokens that are computed before it is known whether they count (decode/decoder.h, verify) come in two phases: hold()
// keeps what they use from eviction, and after release() touch() follows for those that count, in order. A neuron that
// only others selected is then where its own past puts it: in the window by an earlier token, expired, or unused.
//
// Who goes first is a total order: unused by admission, then last use ascending, then index ascending. So the policy
// without a window is a stack algorithm: as long as a token's selection fits, a larger cache holds everything that a
// smaller one does, and never misses more. With a window the cached neurons are a subset of the union of the last k
// selections, and equal to it if the capacity suffices.
//
// Selected neurons are linked into a ring in that order: touch() moves a neuron to the newest end, and ascending
// selections keep ties ordered. Whatever leaves the ring leaves at the oldest end, so that a token costs what it
// selects and evicts, not what is cached. A neuron stays linked while it is not cached (its token found no room for
// it), until evictions() meets it. The union is counted from its changes: a token enters, the token k before it leaves,
// and a neuron counts at its last use.
//
// Between tokens the pinned set may change. Who is pinned leaves the ring, or comes into the cache when next missed;
// who no longer is enters the ring where its last use puts it, so that the order is the one that it would have had.
// Then surplus() names who must go before the cache shrinks: by the same order, the last token's neurons too, since
// nothing computes from them any more.
#include "cache/window_policy.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace flashneuron {

WindowPolicy::WindowPolicy(uint32_t neuron_count, std::optional<uint32_t> window)
    : neurons_(neuron_count), window_(window), uses_(size_t{neuron_count} + 1) {
  reset();
}

void WindowPolicy::pin(uint32_t neuron) {
  Use& use = uses_[neuron];
  if (use.newer != kUnlinked && use.newer != kPinned) unlink(neuron);
  use.newer = kPinned;
}

void WindowPolicy::unpin(const NeuronCache& cache, std::span<const uint32_t> neurons) {
  std::vector<uint32_t> unused, used;
  for (const uint32_t neuron : neurons) {
    assert(is_pinned(neuron));
    uses_[neuron].newer = kUnlinked;
    if (!cache.contains(neuron)) continue;
    (uses_[neuron].last == 0 ? unused : used).push_back(neuron);
  }
  std::sort(unused.begin(), unused.end());
  std::erase_if(unused_, [&](uint32_t n) { return std::binary_search(unused.begin(), unused.end(), n); });
  unused_.insert(unused_.end(), unused.begin(), unused.end());
  const auto before = [&](uint32_t a, uint32_t b) { return std::pair(uses_[a].last, a) < std::pair(uses_[b].last, b); };
  std::sort(used.begin(), used.end(), before);
  uint32_t place = uses_[neurons_].newer;
  for (const uint32_t neuron : used) {
    while (place != neurons_ && before(place, neuron)) place = uses_[place].newer;
    link(neuron, place);
  }
}

void WindowPolicy::touch(std::span<const uint32_t> selected) {
  ++now_;
  if (window_) {
    if (last_uses_.size() == *window_) {
      union_ -= last_uses_.front();
      last_uses_.pop_front();
    }
    last_uses_.push_back(0);
  }
  for (const uint32_t neuron : selected) {
    Use& use = uses_[neuron];
    count(use.last);
    use.last = now_;
    if (use.newer == kPinned) continue;
    if (use.newer != kUnlinked) unlink(neuron);
    link(neuron, neurons_);
  }
}

// A neuron whose last use was `last_use` is selected by this token.
void WindowPolicy::count(uint32_t last_use) {
  const bool counted = in_window(last_use);
  union_ += counted ? 0 : 1;
  if (!window_) return;
  if (counted) --last_uses_[last_uses_.size() - 1 - (now_ - last_use)];
  ++last_uses_.back();
}

void WindowPolicy::hold(std::span<const uint32_t> neurons) {
  for (const uint32_t neuron : neurons) uses_[neuron].held = hold_;
}

void WindowPolicy::unlink(uint32_t neuron) {
  Use& use = uses_[neuron];
  uses_[use.older].newer = use.newer;
  uses_[use.newer].older = use.older;
  use.older = use.newer = kUnlinked;
}

void WindowPolicy::link(uint32_t neuron, uint32_t newer) {
  Use& use = uses_[neuron];
  use.older = uses_[newer].older;
  use.newer = newer;
  uses_[use.older].newer = neuron;
  uses_[newer].older = neuron;
}

void WindowPolicy::admit(uint32_t neuron) {
  if (uses_[neuron].newer == kUnlinked) unused_.push_back(neuron);
}

std::vector<uint32_t> WindowPolicy::evictions(const NeuronCache& cache, uint32_t room) {
  const uint64_t rows = uint64_t{room} + cache.size();
  return leaving(cache, rows > cache.capacity() ? rows - cache.capacity() : 0, true);
}

std::vector<uint32_t> WindowPolicy::surplus(const NeuronCache& cache, uint32_t rows) {
  return leaving(cache, cache.size() > rows ? cache.size() - rows : 0, false);
}

std::vector<uint32_t> WindowPolicy::leaving(const NeuronCache& cache, uint64_t excess, bool spare_last) {
  std::vector<uint32_t> evicted;
  std::vector<uint32_t> held_back;
  while (!unused_.empty() && (window_ || evicted.size() < excess)) {
    const uint32_t neuron = unused_.front();
    unused_.pop_front();
    if (uses_[neuron].newer != kUnlinked || !cache.contains(neuron)) continue;
    (spare_last && uses_[neuron].held == hold_ ? held_back : evicted).push_back(neuron);
  }
  unused_.insert(unused_.begin(), held_back.begin(), held_back.end());
  uint32_t newer = uses_[neurons_].newer;
  while (newer != neurons_ && !(spare_last && uses_[newer].last == now_)) {
    const uint32_t oldest = newer;
    const bool cached = cache.contains(oldest);
    if (cached && evicted.size() >= excess && in_window(uses_[oldest].last)) break;
    newer = uses_[oldest].newer;
    if (spare_last && uses_[oldest].held == hold_) continue;
    if (cached) evicted.push_back(oldest);
    unlink(oldest);
  }
  return evicted;
}

void WindowPolicy::reset() {
  now_ = 0;
  union_ = 0;
  last_uses_.clear();
  unused_.clear();
  for (Use& use : uses_) use = {.newer = use.newer == kPinned ? kPinned : kUnlinked};
  uses_[neurons_].older = uses_[neurons_].newer = neurons_;
}

}  // namespace flashneuron
