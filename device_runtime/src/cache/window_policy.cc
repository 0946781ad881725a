// Time is counted in tokens: touch() is token 1, 2, …; a neuron's last use is the last token that selected it.
//
// At token t with window k a neuron is in one of four states:
//   current   last use = t                 never evicted
//   in window t - k < last use < t         evicted only when the room is needed
//   expired   0 < last use <= t - k        evicted now, even when there is room: its bytes buy more elsewhere
//   unused    never selected               treated as expired
// touch() makes the selected neurons current and all others one token older. Without a window nothing expires: expired
// and unused neurons count as in window, and the policy is least recently used.
//
// Who goes first is a total order that depends on the selections alone: last use ascending, then index ascending.
// So the policy without a window is a stack algorithm: as long as a token's selection fits, a larger cache holds
// everything that a smaller one does, and never misses more. With a window the cached neurons are a subset of the
// union of the last k selections, and equal to it if the capacity suffices.
#include "cache/window_policy.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace flashneuron {

WindowPolicy::WindowPolicy(uint32_t neuron_count, std::optional<uint32_t> window)
    : window_(window), last_used_(neuron_count, 0) {}

void WindowPolicy::touch(std::span<const uint32_t> selected) {
  ++now_;
  for (const uint32_t neuron : selected) last_used_[neuron] = now_;
}

bool WindowPolicy::in_window(uint32_t neuron) const {
  const uint64_t last = last_used_[neuron];
  return last != 0 && (!window_ || last + *window_ > now_);
}

std::vector<uint32_t> WindowPolicy::evictions(std::span<const uint32_t> cached, uint32_t capacity,
                                              uint32_t room) const {
  std::vector<std::pair<uint64_t, uint32_t>> candidates;  // last use, neuron: all that may go
  size_t expired = 0;                                     // of them, those that must
  for (const uint32_t neuron : cached) {
    if (now_ != 0 && last_used_[neuron] == now_) continue;
    candidates.emplace_back(last_used_[neuron], neuron);
    if (window_ && !in_window(neuron)) ++expired;
  }
  const uint64_t rows = uint64_t{room} + cached.size();
  const uint64_t excess = rows > capacity ? rows - capacity : 0;
  const size_t count = std::min<uint64_t>(candidates.size(), std::max<uint64_t>(expired, excess));
  // Expired neurons are the oldest, so the first `count` hold them all.
  const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(candidates.begin(), end, candidates.end());
  std::sort(candidates.begin(), end);
  std::vector<uint32_t> neurons;
  neurons.reserve(count);
  std::transform(candidates.begin(), end, std::back_inserter(neurons), [](const auto& each) { return each.second; });
  return neurons;
}

uint32_t WindowPolicy::union_size() const {
  uint32_t count = 0;
  for (uint32_t neuron = 0; neuron < last_used_.size(); ++neuron) count += in_window(neuron) ? 1 : 0;
  return count;
}

void WindowPolicy::reset() {
  now_ = 0;
  std::fill(last_used_.begin(), last_used_.end(), 0);
}

}  // namespace flashneuron
