#include "engine/replay.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <span>
#include <utility>

#include "cache/neuron_cache.h"
#include "cache/window_policy.h"
#include "decode/ffn_stage.h"
#include "decode/read_batch.h"
#include "engine/configuration.h"
#include "engine/hot_set.h"
#include "engine/memory_budget.h"
#include "package/ffn_shard.h"
#include "package/neuron_lists.h"

namespace flashneuron {
namespace {

// Rows hold nothing: only which neuron has one counts.
constexpr uint32_t kRowBytes = 64;
constexpr uint64_t kStagingBytes = uint64_t{32} << 20;  // a run's most

class Layer {
 public:
  static Result<Layer> create(const ReplayModel& model, uint32_t layer, uint32_t neurons) {
    FN_ASSIGN_OR_RETURN(NeuronCache cache, NeuronCache::create(neurons, model.capacity_rows[layer], kRowBytes));
    Layer made(model, layer, neurons, std::move(cache), WindowPolicy(neurons, model.window));
    std::vector<uint32_t> pinned;
    if (!model.keep_misses) {
      pinned.resize(model.capacity_rows[layer]);
      std::iota(pinned.begin(), pinned.end(), 0u);
    } else if (!model.pinned.empty()) {
      pinned = model.pinned[layer];
    }
    for (const uint32_t neuron : pinned) made.policy_.pin(neuron);
    for (const uint32_t neuron : pinned) made.insert(neuron);
    return made;
  }

  bool has_absent() const { return cache_.size() < neurons_; }

  // Before the step of the same token: as FfnStage::read_early does it.
  void read_early(std::span<const uint32_t> expected, const ReadPlanRules& rules, LayerReplay& found) {
    misses_.clear();
    for (const uint32_t neuron : expected) {
      if (!cache_.contains(neuron)) misses_.push_back(neuron);
    }
    if (misses_.empty()) return;
    Counters counters;
    misses_.resize(read_round(misses_, rules, counters, found.early_rounds));
    counters.early = static_cast<int64_t>(misses_.size());
    found.all += counters;
    found.early += counters;
    early_.swap(misses_);
  }

  // As FfnStage::begin and finish do it.
  void step(std::span<const uint32_t> selected, const ReadPlanRules& rules, LayerReplay& found) {
    Counters& counters = found.all;
    if (model_->keep_misses) policy_.touch(selected);
    misses_.clear();
    for (const uint32_t neuron : selected) {
      if (!cache_.contains(neuron)) misses_.push_back(neuron);
    }
    if (model_->keep_misses) {
      for (const uint32_t neuron : policy_.evictions(cache_, static_cast<uint32_t>(misses_.size())))
        cache_.evict(neuron);
    }
    counters.selected += static_cast<int64_t>(selected.size());
    counters.misses += static_cast<int64_t>(misses_.size());
    counters.hits += static_cast<int64_t>(selected.size() - misses_.size());
    demand_.clear();
    std::set_difference(misses_.begin(), misses_.end(), early_.begin(), early_.end(), std::back_inserter(demand_));
    counters.early_used += static_cast<int64_t>(misses_.size() - demand_.size());
    early_.clear();
    for (std::span<const uint32_t> rest = demand_; !rest.empty();)
      rest = rest.subspan(read_round(rest, rules, counters, found.demand_rounds));
    for (const uint32_t neuron : misses_) {
      if (cache_.size() < cache_.capacity()) insert(neuron);
    }
  }

 private:
  Layer(const ReplayModel& model, uint32_t layer, uint32_t neurons, NeuronCache cache, WindowPolicy policy)
      : model_(&model), layer_(layer), neurons_(neurons), cache_(std::move(cache)), policy_(std::move(policy)) {}

  void insert(uint32_t neuron) {
    cache_.insert(neuron);
    policy_.admit(neuron);
  }

  Extent extent(uint32_t part, uint32_t neuron) const {
    const uint32_t place =
        model_->places.empty() || model_->places[layer_].empty() ? neuron : model_->places[layer_][neuron];
    const uint32_t shard = place / model_->neurons_per_shard;
    const uint64_t index = place % model_->neurons_per_shard;
    return {part << 16 | shard, kFfnHeaderBytes + index * ffn_stride(model_->record_bytes), model_->record_bytes};
  }

  // As many of `neurons` as one staging area takes, at least one; how many.
  size_t read_round(std::span<const uint32_t> neurons, const ReadPlanRules& rules, Counters& counters,
                    LayerReplay::Rounds& rounds) {
    const uint64_t area = Staging::share(model_->staging_bytes);
    size_t count = std::min<size_t>(neurons.size(),
                                    std::max<uint64_t>(1, area / (uint64_t{model_->parts} * model_->record_bytes)));
    while (true) {
      extents_.clear();
      for (uint32_t part = 0; part < model_->parts; ++part) {
        for (const uint32_t neuron : neurons.first(count)) extents_.push_back(extent(part, neuron));
      }
      std::sort(extents_.begin(), extents_.end(), [](const Extent& a, const Extent& b) {
        return std::pair(a.file, a.offset) < std::pair(b.file, b.offset);
      });
      const std::vector<PlannedRead> reads = plan_reads(extents_, rules);
      uint64_t bytes = 0;
      uint32_t longest = 0;
      for (const PlannedRead& read : reads) {
        bytes += read.length;
        longest = std::max(longest, read.length);
      }
      if (bytes > area && count > 1) {
        count = std::max<size_t>(1, std::min<size_t>(count - 1, count * area / bytes));
        continue;
      }
      ++rounds.count;
      rounds.longest_bytes += longest;
      counters.requests += static_cast<int64_t>(reads.size());
      counters.bytes_read += static_cast<int64_t>(bytes);
      counters.bytes_wanted += static_cast<int64_t>(uint64_t{count} * model_->parts * model_->record_bytes);
      return count;
    }
  }

  const ReplayModel* model_;
  uint32_t layer_;
  uint32_t neurons_;
  NeuronCache cache_;
  WindowPolicy policy_;
  std::vector<uint32_t> misses_;
  std::vector<uint32_t> early_;  // on their way when a step begins
  std::vector<uint32_t> demand_;
  std::vector<Extent> extents_;
};

std::vector<std::vector<float>> frequencies(const std::vector<std::vector<std::vector<uint32_t>>>& selections,
                                            uint32_t neurons) {
  std::vector<std::vector<float>> shares;
  for (const auto& tokens : selections) {
    std::vector<float>& layer = shares.emplace_back(neurons);
    for (const auto& selected : tokens) {
      for (const uint32_t neuron : selected) layer[neuron] += 1.0f / static_cast<float>(tokens.size());
    }
    for (float& share : layer) share = std::min(share, 1.0f);
  }
  return shares;
}

}  // namespace

Result<std::vector<LayerReplay>> replay(const ReplayModel& model, const ActivationTrace& trace,
                                        const ReadTuning& tuning, uint32_t block_bytes, uint32_t uncounted) {
  const ReadPlanRules rules = ReadBatch::rules(tuning, block_bytes, Staging::share(model.staging_bytes));
  if (uncounted >= trace.tokens()) {
    return Status(StatusCode::kBadInput, "uncounted is " + std::to_string(uncounted) + ", the trace has " +
                                             std::to_string(trace.tokens()) + " tokens");
  }
  std::vector<uint32_t> all(model.dense ? trace.ffn_size() : 0);
  std::iota(all.begin(), all.end(), 0u);
  std::vector<LayerReplay> layers(trace.layers());
  for (uint32_t number = 0; number < trace.layers(); ++number) {
    FN_ASSIGN_OR_RETURN(Layer layer, Layer::create(model, number, trace.ffn_size()));
    LayerReplay warming;
    for (uint32_t token = 0; token < trace.tokens(); ++token) {
      FN_ASSIGN_OR_RETURN(const std::vector<uint32_t> selected, trace.selected(number, token));
      LayerReplay& found = token < uncounted ? warming : layers[number];
      if (model.overlap && model.keep_misses && trace.has_expected() && layer.has_absent()) {
        FN_ASSIGN_OR_RETURN(const std::vector<uint32_t> expected, trace.expected(number, token));
        layer.read_early(expected, rules, found);
      }
      layer.step(model.dense ? all : selected, rules, found);
    }
  }
  return layers;
}

Result<ReplayModel> model_of_trace(const ActivationTrace& trace, uint32_t record_bytes, uint64_t rows,
                                   const Options& options) {
  ReplayModel model;
  model.record_bytes = record_bytes;
  model.staging_bytes = kStagingBytes;
  model.neurons_per_shard = static_cast<uint32_t>((kMaxShardBytes - kFfnHeaderBytes) / ffn_stride(record_bytes));
  model.window = options.window;
  model.overlap = options.overlap;
  std::vector<std::vector<std::vector<uint32_t>>> selections(trace.layers());
  for (uint32_t layer = 0; layer < trace.layers(); ++layer) {
    for (uint32_t token = 0; token < std::max(1u, trace.tokens() / 2); ++token) {
      FN_ASSIGN_OR_RETURN(selections[layer].emplace_back(), trace.selected(layer, token));
    }
  }
  NeuronShares shares = share_by_frequency(frequencies(selections, trace.ffn_size()), rows, options.hot);
  model.capacity_rows = std::move(shares.capacity_rows);
  model.pinned = std::move(shares.pinned);
  return model;
}

Result<Replay> replay_package(const Options& options, const std::optional<std::string>& trace_path,
                              uint32_t block_bytes, std::optional<uint32_t> uncounted) {
  FN_ASSIGN_OR_RETURN(Configuration chosen, configure(options));
  const Manifest& manifest = chosen.manifest();
  FN_RETURN_IF_ERROR(check_budget(chosen.budget));
  if (chosen.options.residency == Residency::kNaive) {
    return Status(StatusCode::kUnsupported, "residency=naive reads every weight for every token: nothing to replay");
  }
  if (chosen.options.gate_first) {
    return Status(StatusCode::kUnsupported,
                  "gate_first=on cannot be replayed: a trace does not say which gates let their neurons fire");
  }
  std::string path = trace_path.value_or("");
  for (const auto& [name, entry] : manifest.files) {
    if (path.empty() && entry.role == "trace") path = chosen.package.path_of(name);
  }
  if (path.empty()) {
    return Status(StatusCode::kUnsupported, "the package has no activation trace; export it again with predictors");
  }
  FN_ASSIGN_OR_RETURN(const ActivationTrace trace, ActivationTrace::open(path, path));
  if (trace.layers() != manifest.model.layers || trace.ffn_size() != manifest.model.ffn_size) {
    return Status(StatusCode::kBadInput, path + " is the trace of another model than the package's");
  }
  const FfnVariant& variant = chosen.ffn_variant();
  const bool bundled = variant.layout == Layout::kBundled;
  const ModelFacts& facts = manifest.model;
  ReplayModel model{.parts = bundled ? 1u : bundle_rows(facts.gated),
                    .record_bytes = ffn_record_bytes(bundled ? FfnPart::kBundle : FfnPart::kUp, manifest.ffn.dtype,
                                                     facts.hidden_size, facts.gated),
                    .neurons_per_shard = variant.neurons_per_shard,
                    .staging_bytes = chosen.staging_bytes,
                    .places = {},
                    .capacity_rows = chosen.caches.capacity_rows,
                    .pinned = chosen.caches.pinned,
                    .window = chosen.options.window};
  model.dense = *chosen.options.predictor == PredictorKind::kNone;
  model.overlap = chosen.options.overlap;
  model.keep_misses = chosen.options.residency == Residency::kCached && !model.dense;
  for (uint32_t layer = 0; layer < trace.layers(); ++layer) {
    FN_ASSIGN_OR_RETURN(model.places.emplace_back(), read_places(chosen.package, variant, layer));
  }
  const ReadTuning tuning{chosen.options.read_gap_bytes, chosen.options.max_read_bytes};
  Replay result;
  const uint32_t warming = uncounted.value_or(trace.tokens() / 2);
  FN_ASSIGN_OR_RETURN(result.layers, replay(model, trace, tuning, block_bytes, warming));
  result.tokens = trace.tokens() - warming;
  result.capacity_rows = chosen.caches.capacity_rows;
  result.budget = chosen.budget;
  result.settings = chosen.options;
  return result;
}

}  // namespace flashneuron
