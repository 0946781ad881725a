#include "decode/ffn_stage.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "package/ffn_shard.h"
#include "telemetry/timer.h"

namespace flashneuron {

NeuronRow FfnWeights::row(uint32_t layer, uint32_t neuron, const std::byte* up, const std::byte* down) const {
  NeuronRow row{.neuron = neuron, .up = up, .down = down};
  if (!has_scales(dtype)) return row;
  const size_t each = scale_bytes(dtype, hidden_size);
  row.up_scales = scales[layer].data() + each * neuron;
  row.down_scales = row.up_scales + each * ffn_size;
  return row;
}

uint32_t FfnStage::cache_row_bytes(uint32_t hidden_size, DType dtype) {
  return ffn_stride(ffn_record_bytes(FfnPart::kBundle, dtype, hidden_size));
}

FfnStage::FfnStage(const FfnWeights& weights, const NeuronFiles& files, FlashFetcher& fetcher, ThreadPool& pool,
                   size_t max_tokens, FfnStageOptions options)
    : weights_(weights),
      files_(files),
      fetcher_(fetcher),
      options_(std::move(options)),
      accumulator_(weights.hidden_size, weights.dtype, max_tokens, kMaxRows, pool),
      all_(weights.ffn_size),
      chosen_(weights.ffn_size) {
  std::iota(all_.begin(), all_.end(), 0u);
}

Result<std::unique_ptr<FfnStage>> FfnStage::create(const FfnWeights& weights, const NeuronFiles& files,
                                                   FlashFetcher& fetcher, ThreadPool& pool, size_t max_tokens,
                                                   const FfnStageOptions& options) {
  std::unique_ptr<FfnStage> stage(new FfnStage(weights, files, fetcher, pool, max_tokens, options));
  for (uint32_t layer = 0; layer < weights.biases.size(); ++layer) {
    FN_ASSIGN_OR_RETURN(NeuronCache cache, NeuronCache::create(weights.ffn_size, options.capacity_rows[layer],
                                                               cache_row_bytes(weights.hidden_size, weights.dtype)));
    stage->layers_.push_back({std::move(cache), WindowPolicy(weights.ffn_size, options.window)});
    if (!options.keep_misses) FN_RETURN_IF_ERROR(stage->load_pinned(layer));
  }
  return stage;
}

Status FfnStage::load_pinned(uint32_t layer) {
  NeuronCache& cache = layers_[layer].cache;
  Counters ignored;
  for (uint32_t next = 0; next < cache.capacity();) {
    const std::span<const uint32_t> wanted = std::span(all_).subspan(next, cache.capacity() - next);
    FN_ASSIGN_OR_RETURN(const size_t fetched, fetch_round(layer, wanted, ignored));
    for (size_t i = 0; i < fetched; ++i) insert(layers_[layer], staged(layer, wanted[i], i, fetched));
    next += static_cast<uint32_t>(fetched);
  }
  return {};
}

Status FfnStage::sparse(uint32_t layer, std::span<const float> x, std::span<const uint32_t> selected,
                        std::span<float> out, Counters& counters) {
  Layer& state = layers_[layer];
  if (options_.keep_misses) {
    size_t misses = 0;
    {
      ScopedTimer timer(counters.memory_us);
      state.policy.touch(selected);
      for (const uint32_t neuron : selected) misses += state.cache.find(neuron) == nullptr;
    }
    make_room(state, misses, counters);
  }
  return run(layer, x, 1, selected, [](uint32_t) { return true; }, out, counters);
}

Status FfnStage::dense(uint32_t layer, std::span<const float> x, size_t tokens, std::span<float> out,
                       Counters& counters) {
  return run(layer, x, tokens, all_, [](uint32_t) { return false; }, out, counters);
}

Status FfnStage::dense_and_seed(uint32_t layer, std::span<const float> x, size_t tokens, const Selections& selections,
                                std::span<float> out, Counters& counters) {
  Layer& state = layers_[layer];
  if (!options_.keep_misses) return dense(layer, x, tokens, out, counters);
  const size_t seeds = choose_seeds(state, selections, counters);
  // What the seeds leave free goes to whatever streams by: those rows cost no further read, and are the first to go.
  const size_t taken = state.cache.size() + seeds;
  size_t spare = options_.window || taken > state.cache.capacity() ? 0 : state.cache.capacity() - taken;
  const Keep keep = [&](uint32_t neuron) {
    if (chosen_[neuron]) return true;
    if (spare == 0) return false;
    --spare;
    return true;
  };
  return run(layer, x, tokens, all_, keep, out, counters);
}

size_t FfnStage::choose_seeds(Layer& layer, const Selections& selections, Counters& counters) {
  std::fill(chosen_.begin(), chosen_.end(), false);
  std::vector<std::vector<uint32_t>> newest_first;
  size_t chosen = 0;
  while (chosen < layer.cache.capacity() && (!options_.window || newest_first.size() < *options_.window)) {
    const std::optional<std::span<const uint32_t>> selection = selections();
    if (!selection) break;
    newest_first.emplace_back(selection->begin(), selection->end());
    for (const uint32_t neuron : *selection) {
      if (chosen == layer.cache.capacity()) break;
      if (!chosen_[neuron]) ++chosen;
      chosen_[neuron] = true;
    }
  }
  size_t misses = 0;
  {
    ScopedTimer timer(counters.memory_us);
    for (auto token = newest_first.rbegin(); token != newest_first.rend(); ++token) layer.policy.touch(*token);
    for (const uint32_t neuron : all_) misses += chosen_[neuron] && layer.cache.find(neuron) == nullptr;
  }
  make_room(layer, misses, counters);
  return misses;
}

void FfnStage::make_room(Layer& layer, size_t room, Counters& counters) {
  ScopedTimer timer(counters.memory_us);
  for (const uint32_t neuron :
       layer.policy.evictions(layer.cache.neurons(), layer.cache.capacity(), static_cast<uint32_t>(room))) {
    layer.cache.evict(neuron);
  }
}

Status FfnStage::run(uint32_t layer, std::span<const float> x, size_t tokens, std::span<const uint32_t> selected,
                     const Keep& keep, std::span<float> out, Counters& counters) {
  Layer& state = layers_[layer];
  const std::span<const float> bias(weights_.biases[layer]);
  misses_.clear();
  for (const uint32_t neuron : options_.read_all ? std::span<const uint32_t>(all_) : selected) {
    if (state.cache.find(neuron) == nullptr) misses_.push_back(neuron);
  }
  const size_t read_only = options_.read_all ? all_.size() - selected.size() : 0;
  counters.selected += static_cast<int64_t>(selected.size());
  counters.misses += static_cast<int64_t>(misses_.size() - read_only);
  counters.hits += static_cast<int64_t>(selected.size() - (misses_.size() - read_only));

  {
    ScopedTimer timer(counters.ffn_us);
    accumulator_.begin(x, tokens, bias.first(weights_.ffn_size), bias.subspan(weights_.ffn_size));
  }
  const auto add_rows = [&] {
    ScopedTimer timer(counters.ffn_us);
    accumulator_.add(rows_);
    rows_.clear();
  };
  size_t next_selected = 0;
  size_t next_miss = 0;
  do {
    size_t fetched = 0;
    if (next_miss < misses_.size()) {
      FN_ASSIGN_OR_RETURN(fetched, fetch_round(layer, std::span(misses_).subspan(next_miss), counters));
    }
    const bool last = next_miss + fetched == misses_.size();
    const uint32_t end = last ? weights_.ffn_size : misses_[next_miss + fetched];
    size_t in_round = 0;  // misses of this round before the selected neuron at hand
    for (; next_selected < selected.size() && selected[next_selected] < end; ++next_selected) {
      const uint32_t neuron = selected[next_selected];
      if (const std::byte* row = state.cache.find(neuron)) {
        rows_.push_back(weights_.row(layer, neuron, row, row + weights_.vector_bytes()));
      } else {
        while (misses_[next_miss + in_round] < neuron) ++in_round;
        rows_.push_back(staged(layer, neuron, in_round, fetched));
        if (state.cache.size() + kept_.size() < state.cache.capacity() && keep(neuron)) kept_.push_back(rows_.back());
      }
      if (rows_.size() == kMaxRows) add_rows();
    }
    if (!rows_.empty()) add_rows();
    if (!kept_.empty()) {
      ScopedTimer timer(counters.memory_us);
      for (const NeuronRow& row : kept_) insert(state, row);
      kept_.clear();
    }
    next_miss += fetched;
  } while (next_selected < selected.size() || next_miss < misses_.size());
  ScopedTimer timer(counters.ffn_us);
  accumulator_.finish(out);
  return {};
}

Result<size_t> FfnStage::fetch_round(uint32_t layer, std::span<const uint32_t> misses, Counters& counters) {
  const uint32_t parts = files_.parts();
  size_t count = std::min(misses.size(), kMaxRows);
  for (uint32_t part = 0; part < parts; ++part) {
    extents_.clear();
    for (const uint32_t neuron : misses.first(count)) extents_.push_back(files_.extent(layer, part, neuron));
    count = fetcher_.fitting(extents_, fetcher_.staging_bytes() / parts);
  }
  extents_.clear();
  for (uint32_t part = 0; part < parts; ++part) {
    for (const uint32_t neuron : misses.first(count)) extents_.push_back(files_.extent(layer, part, neuron));
  }
  if (count == 0) return Status(StatusCode::kInternal, "the staging buffer is smaller than one record");
  FN_RETURN_IF_ERROR(fetcher_.fetch(extents_, counters));
  return count;
}

NeuronRow FfnStage::staged(uint32_t layer, uint32_t neuron, size_t index, size_t fetched) const {
  const std::byte* up = fetcher_.at(index);
  const bool split = files_.parts() == 2;
  return weights_.row(layer, neuron, up, split ? fetcher_.at(fetched + index) : up + weights_.vector_bytes());
}

void FfnStage::insert(Layer& layer, const NeuronRow& row) {
  const size_t vector_bytes = weights_.vector_bytes();
  std::byte* destination = layer.cache.append(row.neuron);
  std::memcpy(destination, row.up, vector_bytes);
  std::memcpy(destination + vector_bytes, row.down, vector_bytes);
}

uint32_t FfnStage::window_union(uint32_t layer) const {
  return options_.keep_misses ? layers_[layer].policy.union_size() : 0;
}

void FfnStage::reset() {
  if (!options_.keep_misses) return;
  for (Layer& layer : layers_) {
    layer.cache.clear();
    layer.policy.reset();
  }
}

}  // namespace flashneuron
