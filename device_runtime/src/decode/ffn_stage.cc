#include "decode/ffn_stage.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "package/ffn_shard.h"
#include "telemetry/trace.h"

namespace flashneuron {

namespace {

int64_t count_fired(std::span<const float> activations) {
  return std::count_if(activations.begin(), activations.end(), [](float each) { return each != 0; });
}

}  // namespace

FfnWeights::RowPointers FfnWeights::rows_of(const std::byte* record) const {
  return {record, record + vector_bytes(), record + 2 * vector_bytes()};
}

NeuronRow FfnWeights::row(uint32_t layer, uint32_t neuron, const RowPointers& rows) const {
  const uint32_t up = gated() ? 1 : 0;
  NeuronRow row{.neuron = neuron, .up = rows[up], .down = rows[up + 1]};
  if (gated()) row.gate = rows[0];
  if (!has_scales(dtype)) return row;
  const size_t each = scale_bytes(dtype, hidden_size);
  const std::byte* first = scales[layer].data() + each * neuron;
  if (gated()) row.gate_scales = first;
  row.up_scales = first + up * each * ffn_size;
  row.down_scales = row.up_scales + each * ffn_size;
  return row;
}

uint32_t FfnStage::cache_row_bytes(uint32_t hidden_size, DType dtype, bool gated) {
  return ffn_stride(ffn_record_bytes(FfnPart::kBundle, dtype, hidden_size, gated));
}

FfnStage::FfnStage(const FfnWeights& weights, const NeuronFiles& files, Staging& staging, ThreadPool& pool,
                   size_t max_tokens, FfnStageOptions options)
    : weights_(weights),
      files_(files),
      queue_(staging.demand[0].queue()),
      options_(std::move(options)),
      accumulator_(weights.hidden_size, weights.dtype, max_tokens, pool),
      demand_{{files, staging.demand[0]}, {files, staging.demand[1]}},
      early_{{files, staging.early[0]}, {files, staging.early[1]}},
      all_(weights.ffn_size),
      activations_(std::max<size_t>(weights.ffn_size, kMaxRows * max_tokens)),
      chosen_(weights.ffn_size),
      gate_products_(options_.gate_first ? weights.ffn_size : 0),
      reserved_(gate_products_.size()) {
  std::iota(all_.begin(), all_.end(), 0u);
}

Result<std::unique_ptr<FfnStage>> FfnStage::create(const FfnWeights& weights, const NeuronFiles& files,
                                                   Staging& staging, ThreadPool& pool, size_t max_tokens,
                                                   const FfnStageOptions& options) {
  std::unique_ptr<FfnStage> stage(new FfnStage(weights, files, staging, pool, max_tokens, options));
  for (uint32_t layer = 0; layer < weights.biases.size(); ++layer) {
    const uint32_t bytes = cache_row_bytes(weights.hidden_size, weights.dtype, weights.gated());
    FN_ASSIGN_OR_RETURN(NeuronCache cache,
                        NeuronCache::create(weights.ffn_size, options.caches.capacity_rows[layer], bytes));
    stage->layers_.push_back({std::move(cache), WindowPolicy(weights.ffn_size, options.window)});
    FN_RETURN_IF_ERROR(stage->load_pinned(layer, stage->pinned(options.caches, layer)));
  }
  return stage;
}

Status FfnStage::begin(uint32_t layer, std::span<const float> x, std::span<const uint32_t> selected,
                       Counters& counters) {
  Layer& state = layers_[layer];
  if (options_.keep_misses) {
    size_t misses = 0;
    {
      const TimedSpan span(queue_.spans(), SpanKind::kMemory, counters.memory_us);
      state.policy.touch(selected);
      for (const uint32_t neuron : selected) misses += state.cache.find(neuron) == nullptr;
    }
    make_room(state, options_.gate_first ? 0 : misses, counters);  // silent neurons need no room
  }
  call_.gate_first = options_.gate_first;
  const Keep keep = [this, layer](uint32_t neuron) {
    return options_.keep_misses || layers_[layer].policy.is_pinned(neuron);
  };
  return start(layer, x, 1, selected, keep, counters);
}

Status FfnStage::finish(std::span<float> out, Counters& counters) { return walk(out, counters); }

bool FfnStage::wants_early(uint32_t layer) const {
  return options_.overlap && options_.keep_misses && layer < layers_.size() &&
         layers_[layer].cache.size() < weights_.ffn_size;
}

Status FfnStage::read_early(uint32_t layer, std::span<const uint32_t> predicted, Counters& counters) {
  early_misses_.clear();
  for (const uint32_t neuron : predicted) {
    if (layers_[layer].cache.find(neuron) == nullptr) early_misses_.push_back(neuron);
  }
  if (early_misses_.empty()) return {};
  const RowRange rows = options_.gate_first ? RowRange{0, 1} : files_.all_rows();
  FN_ASSIGN_OR_RETURN(const size_t started, early_[layer % 2].start(layer, early_misses_, rows, counters));
  counters.early += static_cast<int64_t>(started);
  return {};
}

Status FfnStage::dense(uint32_t layer, std::span<const float> x, size_t tokens, std::span<float> out,
                       Counters& counters) {
  call_.gate_first = options_.gate_first && tokens == 1;
  const Keep keep = [&](uint32_t neuron) { return layers_[layer].policy.is_pinned(neuron); };
  FN_RETURN_IF_ERROR(start(layer, x, tokens, all_, keep, counters));
  return walk(out, counters);
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
  call_.gate_first = false;
  FN_RETURN_IF_ERROR(start(layer, x, tokens, all_, keep, counters));
  return walk(out, counters);
}

size_t FfnStage::choose_seeds(Layer& layer, const Selections& selections, Counters& counters) {
  std::vector<std::vector<uint32_t>> newest_first;
  size_t chosen = 0;
  for (const uint32_t neuron : all_) {
    chosen_[neuron] = layer.policy.is_pinned(neuron) && !layer.cache.contains(neuron);
    chosen += chosen_[neuron];
  }
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
    const TimedSpan span(queue_.spans(), SpanKind::kMemory, counters.memory_us);
    for (auto token = newest_first.rbegin(); token != newest_first.rend(); ++token) layer.policy.touch(*token);
    for (const uint32_t neuron : all_) misses += chosen_[neuron] && layer.cache.find(neuron) == nullptr;
  }
  make_room(layer, misses, counters);
  return misses;
}

void FfnStage::make_room(Layer& layer, size_t room, Counters& counters) {
  const TimedSpan span(queue_.spans(), SpanKind::kMemory, counters.memory_us);
  for (const uint32_t neuron : layer.policy.evictions(layer.cache, static_cast<uint32_t>(room))) {
    layer.cache.evict(neuron);
  }
}

Status FfnStage::start(uint32_t layer, std::span<const float> x, size_t tokens, std::span<const uint32_t> selected,
                       Keep keep, Counters& counters, std::span<const uint32_t> masks) {
  const Layer& state = layers_[layer];
  NeuronBatch& early = early_[layer % 2];
  if (early.layer() != layer) early.clear();
  call_.layer = layer;
  call_.tokens = tokens;
  call_.selected = selected;
  call_.masks = masks;
  call_.keep = std::move(keep);
  call_.demand.clear();
  call_.started = 0;
  call_.rows.assign(selected.size(), {});
  call_.missed.assign(selected.size(), false);
  for (size_t i = 0; i < selected.size(); ++i) {
    const int64_t uses = masks.empty() ? 1 : std::popcount(masks[i]);
    counters.selected += uses;
    if (const std::byte* record = state.cache.find(selected[i])) {
      call_.rows[i] = weights_.row(layer, selected[i], weights_.rows_of(record));
      counters.hits += uses;
      continue;
    }
    call_.missed[i] = true;
    ++counters.misses;
    counters.hits += uses - 1;
    if (early.find(selected[i])) {
      ++counters.early_used;
    } else if (!options_.read_all) {
      call_.demand.push_back(selected[i]);
    }
  }
  if (options_.read_all) call_.demand = all_;
  {
    const TimedSpan span(queue_.spans(), SpanKind::kFfn, counters.ffn_us);
    const std::span<const float> bias(weights_.biases[layer]);
    accumulator_.begin(x, tokens, weights_.rules[layer], bias.first(weights_.ffn_size),
                       bias.subspan(weights_.ffn_size));
  }
  if (call_.gate_first) FN_RETURN_IF_ERROR(read_gates(counters));
  return start_rounds(counters);
}

Status FfnStage::start_rounds(Counters& counters) {
  const RowRange rows = call_.gate_first ? RowRange{1, 2} : files_.all_rows();
  for (NeuronBatch& batch : demand_) {
    if (call_.started == call_.demand.size()) return {};
    if (!batch.empty()) continue;
    const std::span<const uint32_t> rest = std::span(call_.demand).subspan(call_.started);
    FN_ASSIGN_OR_RETURN(const size_t started, batch.start(call_.layer, rest, rows, counters));
    call_.started += started;
    if (options_.overlap) continue;
    return batch.wait_all(counters);
  }
  return {};
}

Status FfnStage::turn_rounds(size_t i, Counters& counters) {
  for (bool turned = true; turned;) {
    turned = false;
    for (NeuronBatch& batch : demand_) {
      const bool passed = i == call_.selected.size() || (!batch.empty() && batch.neurons().back() < call_.selected[i]);
      if (batch.empty() || !passed) continue;
      if (options_.read_all) FN_RETURN_IF_ERROR(batch.wait_all(counters));
      batch.clear();
      turned = true;
    }
    FN_RETURN_IF_ERROR(start_rounds(counters));
  }
  return {};
}

Status FfnStage::walk(std::span<float> out, Counters& counters) {
  const std::span<const uint32_t> selected = call_.selected;
  if (call_.tokens == 1) {
    const TimedSpan span(queue_.spans(), SpanKind::kFfn, counters.ffn_us);
    accumulator_.activate(call_.rows, activations_);
  }
  const size_t most = call_.tokens == 1 ? selected.size() : kMaxRows;
  for (size_t begin = 0;;) {
    FN_RETURN_IF_ERROR(turn_rounds(begin, counters));
    if (begin == selected.size()) break;
    queue_.poll();
    size_t end = begin;
    while (end < selected.size() && end - begin < most && locate(end)) ++end;
    if (end == begin) {
      FN_RETURN_IF_ERROR(wait_for(begin, counters));
      continue;
    }
    add(begin, end, counters);
    begin = end;
  }
  early_[call_.layer % 2].clear();
  if (call_.tokens == 1) counters.fired += count_fired(std::span(activations_).first(selected.size()));
  const TimedSpan span(queue_.spans(), SpanKind::kFfn, counters.ffn_us);
  accumulator_.finish(out);
  return {};
}

bool FfnStage::locate(size_t i) {
  if (call_.rows[i].up != nullptr) return true;
  for (const NeuronBatch* batch : {&early_[call_.layer % 2], &demand_[0], &demand_[1]}) {
    const std::optional<size_t> index = batch->find(call_.selected[i]);
    if (!index) continue;
    if (!batch->arrived(*index)) return false;
    call_.rows[i] = row(*batch, *index);
    return true;
  }
  return false;
}

Status FfnStage::wait_for(size_t i, Counters& counters) {
  for (NeuronBatch* batch : {&early_[call_.layer % 2], &demand_[0], &demand_[1]}) {
    if (const std::optional<size_t> index = batch->find(call_.selected[i])) return batch->wait(*index, counters);
  }
  return {StatusCode::kInternal, "a selected neuron was not read"};
}

void FfnStage::add(size_t begin, size_t end, Counters& counters) {
  const std::span<const NeuronRow> rows = std::span(call_.rows).subspan(begin, end - begin);
  {
    const TimedSpan span(queue_.spans(), SpanKind::kFfn, counters.ffn_us);
    if (call_.tokens > 1) {
      const bool masked = !call_.masks.empty();
      accumulator_.activate(rows, activations_, masked ? call_.masks.subspan(begin, rows.size()) : call_.masks);
      accumulator_.add(rows, activations_);
      if (masked) counters.fired += count_fired(std::span(activations_).first(rows.size() * call_.tokens));
    } else {
      arrived_.clear();
      for (size_t i = begin; i < end; ++i) {
        if (call_.missed[i]) arrived_.push_back(call_.rows[i]);
      }
      arrived_activations_.resize(arrived_.size());
      accumulator_.activate(arrived_, arrived_activations_);
      size_t next = 0;
      for (size_t i = begin; i < end; ++i) {
        if (call_.missed[i]) activations_[i] = arrived_activations_[next++];
      }
      accumulator_.add(rows, std::span(activations_).subspan(begin));
    }
  }
  Layer& state = layers_[call_.layer];
  const TimedSpan span(queue_.spans(), SpanKind::kMemory, counters.memory_us);
  for (size_t i = begin; i < end; ++i) {
    if (!call_.missed[i]) continue;
    const uint32_t neuron = call_.selected[i];
    if (call_.gate_first) {
      if (reserved_[neuron] != nullptr) copy(call_.rows[i], reserved_[neuron]);
    } else if (state.cache.size() < state.cache.capacity() && call_.keep(neuron)) {
      copy(call_.rows[i], insert(state, neuron));
    }
  }
}

NeuronRow FfnStage::row(const NeuronBatch& batch, size_t index) const {
  const RowRange range = batch.rows();
  FfnWeights::RowPointers rows{};
  for (uint32_t r = range.first; r < range.first + range.count; ++r) rows[r] = batch.row(index, r);
  NeuronRow row = weights_.row(batch.layer(), batch.neurons()[index], rows);
  if (range.first > 0) row.gate_product = gate_products_[row.neuron];
  return row;
}

std::byte* FfnStage::insert(Layer& layer, uint32_t neuron) {
  std::byte* record = layer.cache.insert(neuron);
  layer.policy.admit(neuron);
  return record;
}

void FfnStage::copy(const NeuronRow& row, std::byte* record) const {
  if (weights_.gated()) {
    if (row.gate != nullptr) std::memcpy(record, row.gate, weights_.vector_bytes());
    record += weights_.vector_bytes();
  }
  std::memcpy(record, row.up, weights_.vector_bytes());
  std::memcpy(record + weights_.vector_bytes(), row.down, weights_.vector_bytes());
}

uint32_t FfnStage::window_union(uint32_t layer) const {
  return options_.keep_misses ? layers_[layer].policy.union_size() : 0;
}

}  // namespace flashneuron
