// The last kSpan tokens partition the neurons that they selected by their last use, so that the union is a sum of kSpan
// counts; a token moves each of its neurons to its own count.
#include "telemetry/selection_meter.h"

#include <numeric>

namespace flashneuron {

SelectionMeter::Sums& SelectionMeter::Sums::operator+=(const Sums& other) {
  tokens += other.tokens;
  selected += other.selected;
  united += other.united;
  fresh += other.fresh;
  return *this;
}

void SelectionMeter::touch(std::span<const uint32_t> selected) {
  ++now_;
  last_used_at_[now_ % kSpan] = 0;  // those of token now - kSpan leave the span
  int64_t fresh = 0;
  for (const uint32_t neuron : selected) {
    const uint64_t last = last_used_[neuron];
    const bool in_span = last != 0 && last + kSpan > now_;
    if (in_span) --last_used_at_[last % kSpan];
    fresh += in_span ? 0 : 1;
    last_used_[neuron] = now_;
  }
  last_used_at_[now_ % kSpan] = static_cast<int64_t>(selected.size());
  if (now_ < kSpan) return;
  sums_ += {1, static_cast<int64_t>(selected.size()),
            std::accumulate(last_used_at_.begin(), last_used_at_.end(), int64_t{0}), fresh};
}

}  // namespace flashneuron
