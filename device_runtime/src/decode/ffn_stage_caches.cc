// What the caches hold beside misses: pinned rows, and how it changes between tokens.
#include <algorithm>

#include "decode/ffn_stage.h"

namespace flashneuron {

std::span<const uint32_t> FfnStage::pinned(const CacheShares& caches, uint32_t layer) const {
  if (!options_.keep_misses) return std::span(all_).first(caches.capacity_rows[layer]);
  if (caches.pinned.empty()) return {};
  return caches.pinned[layer];
}

Status FfnStage::load_pinned(uint32_t layer, std::span<const uint32_t> pinned) {
  Layer& state = layers_[layer];
  NeuronBatch& batch = demand_.front();
  Counters ignored;
  for (const uint32_t neuron : pinned) state.policy.pin(neuron);
  // In order of places, so that the rounds together read the flash once from front to back.
  std::vector<uint32_t> by_place(pinned.begin(), pinned.end());
  std::sort(by_place.begin(), by_place.end(),
            [&](uint32_t a, uint32_t b) { return files_.place(layer, a) < files_.place(layer, b); });
  for (std::span<const uint32_t> rest = by_place; !rest.empty();) {
    FN_ASSIGN_OR_RETURN(const size_t started, batch.start(layer, rest, files_.all_rows(), ignored));
    FN_RETURN_IF_ERROR(batch.wait_all(ignored));
    for (size_t i = 0; i < started; ++i) copy(row(batch, i), insert(state, batch.neurons()[i]));
    rest = rest.subspan(started);
  }
  batch.clear();
  return {};
}

void FfnStage::resize(const CacheShares& caches) {
  for (uint32_t layer = 0; layer < layers_.size(); ++layer) {
    auto& [cache, policy] = layers_[layer];
    std::fill(chosen_.begin(), chosen_.end(), false);
    for (const uint32_t neuron : pinned(caches, layer)) chosen_[neuron] = true;
    std::vector<uint32_t> unpinned;
    for (const uint32_t neuron : all_) {
      if (chosen_[neuron]) {
        policy.pin(neuron);
      } else if (policy.is_pinned(neuron)) {
        unpinned.push_back(neuron);
      }
    }
    policy.unpin(cache, unpinned);
    const uint32_t rows = caches.capacity_rows[layer];
    for (const uint32_t neuron : policy.surplus(cache, rows)) cache.evict(neuron);
    cache.set_capacity(rows);
  }
}

void FfnStage::reset() {
  for (NeuronBatch& batch : demand_) batch.clear();
  for (NeuronBatch& batch : early_) batch.clear();
  if (!options_.keep_misses) return;
  for (Layer& layer : layers_) {
    for (const uint32_t neuron : all_) {
      if (layer.cache.contains(neuron) && !layer.policy.is_pinned(neuron)) layer.cache.evict(neuron);
    }
    layer.policy.reset();
  }
}

}  // namespace flashneuron
