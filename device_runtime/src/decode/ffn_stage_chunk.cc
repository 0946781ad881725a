// Several tokens at once of which it is not known yet how many count.
#include <algorithm>

#include "decode/ffn_stage.h"
#include "telemetry/trace.h"

namespace flashneuron {

Status FfnStage::begin(uint32_t layer, std::span<const float> x, size_t tokens, const ChunkSelection& selected,
                       Counters& counters) {
  Layer& state = layers_[layer];
  size_t misses = 0;
  size_t certain = 0;  // of them, the first token's
  if (options_.keep_misses) {
    {
      const TimedSpan span(queue_.spans(), SpanKind::kMemory, counters.memory_us);
      state.policy.touch(of_token(selected, 0));
      state.policy.hold(selected.neurons);
      for (size_t i = 0; i < selected.neurons.size(); ++i) {
        if (state.cache.contains(selected.neurons[i])) continue;
        ++misses;
        certain += selected.tokens[i] & 1;
      }
    }
    make_room(state, misses, counters);
  }
  const size_t room = state.cache.capacity() - state.cache.size();
  size_t spare = room > certain ? room - certain : 0;
  const Keep keep = [spare, &selected](uint32_t neuron) mutable {
    const auto place = std::lower_bound(selected.neurons.begin(), selected.neurons.end(), neuron);
    if (selected.tokens[static_cast<size_t>(place - selected.neurons.begin())] & 1) return true;
    return spare > 0 && spare-- > 0;
  };
  call_.gate_first = false;
  return start(layer, x, tokens, selected.neurons, keep, counters, selected.tokens);
}

void FfnStage::settle(uint32_t layer, const ChunkSelection& selected, size_t count, Counters& counters) {
  if (!options_.keep_misses) return;
  Layer& state = layers_[layer];
  {
    const TimedSpan span(queue_.spans(), SpanKind::kMemory, counters.memory_us);
    state.policy.release();
    for (size_t token = 1; token < count; ++token) state.policy.touch(of_token(selected, token));
  }
  make_room(state, 0, counters);
}

std::span<const uint32_t> FfnStage::of_token(const ChunkSelection& selected, size_t token) {
  of_token_.clear();
  for (size_t i = 0; i < selected.neurons.size(); ++i) {
    if (selected.tokens[i] >> token & 1) of_token_.push_back(selected.neurons[i]);
  }
  return of_token_;
}

}  // namespace flashneuron
