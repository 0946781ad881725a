// The FFN of every layer: finds each selected neuron's row in DRAM or brings it from flash, and computes.
//
// One algorithm serves all residencies; they differ only in what stays in the caches:
//   naive   nothing: every row is read, used and forgotten.
//   hybrid  pinned rows, loaded once; misses are forgotten.
//   cached  with a predictor, the window's neurons: misses are appended after the window policy made room; without one,
//           pinned rows as in hybrid, as many as the budget holds.
//
// A call for one layer: split the selected neurons (ascending; all of them when dense) into hits and misses; evict;
// then rounds: fetch as many misses as the staging buffer holds, hand the accumulator every row up to the last fetched
// miss in index order, and copy into the cache the misses that stay. Rows in a cache do not move during a round,
// because evictions come first and insertions append.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cache/neuron_cache.h"
#include "cache/window_policy.h"
#include "core/thread_pool.h"
#include "decode/flash_fetcher.h"
#include "decode/neuron_files.h"
#include "ffn/ffn_accumulator.h"
#include "flashneuron/options.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"

namespace flashneuron {

struct FfnStageOptions {
  bool read_all = false;                // naive: every row of the layer is read, selected or not
  bool keep_misses = false;             // cached with a predictor; otherwise cached rows are pinned
  std::optional<uint32_t> window;       // tokens; absent: as many as the capacity holds
  std::vector<uint32_t> capacity_rows;  // per layer
};

// What of every layer's FFN is always in DRAM.
struct FfnWeights {
  uint32_t hidden_size = 0;
  uint32_t ffn_size = 0;
  DType dtype = DType::kFp32;
  // Per layer: ffn_size up biases, then hidden_size down biases.
  std::vector<std::vector<float>> biases;
  // Per layer the content of its .scales file: ffn_size rows of up scales, then of down scales. No layers for floats.
  std::vector<std::vector<std::byte>> scales;

  // Bytes of an up row, and of a down column.
  size_t vector_bytes() const { return row_bytes(dtype, hidden_size); }
  // A neuron whose vectors lie at `up` and `down`, with its scales.
  NeuronRow row(uint32_t layer, uint32_t neuron, const std::byte* up, const std::byte* down) const;
};

class FfnStage {
 public:
  static constexpr size_t kMaxRows = 1024;  // rows that one call hands to the accumulator
  // What one neuron takes in a cache: its bundle, rounded up as on flash.
  static uint32_t cache_row_bytes(uint32_t hidden_size, DType dtype);

  // All references must outlive the stage. Loads pinned rows. Errors: kOutOfMemory, kIo.
  static Result<std::unique_ptr<FfnStage>> create(const FfnWeights& weights, const NeuronFiles& files,
                                                  FlashFetcher& fetcher, ThreadPool& pool, size_t max_tokens,
                                                  const FfnStageOptions& options);

  // One token: computes `selected` (ascending). x, out: [hidden_size].
  Status sparse(uint32_t layer, std::span<const float> x, std::span<const uint32_t> selected, std::span<float> out,
                Counters& counters);
  // All neurons for `tokens` tokens. x, out: [tokens, hidden_size].
  Status dense(uint32_t layer, std::span<const float> x, size_t tokens, std::span<float> out, Counters& counters);
  // The same, and seeds the window: `selections` gives the neurons of the chunk's tokens, the newest first, nullopt
  // when there are no more. With a window of k tokens the last k are asked for; without one, as many as fill the
  // capacity, and rows left over take whatever streams by.
  using Selections = std::function<std::optional<std::span<const uint32_t>>()>;
  Status dense_and_seed(uint32_t layer, std::span<const float> x, size_t tokens, const Selections& selections,
                        std::span<float> out, Counters& counters);

  bool keeps_misses() const { return options_.keep_misses; }
  uint32_t cached_rows(uint32_t layer) const { return layers_[layer].cache.size(); }
  // Distinct neurons of the last k tokens, or of all tokens so far without a window; 0 if misses are not kept.
  uint32_t window_union(uint32_t layer) const;
  // Forgets the window, not pinned rows.
  void reset();

 private:
  struct Layer {
    NeuronCache cache;
    WindowPolicy policy;
  };
  using Keep = std::function<bool(uint32_t)>;

  FfnStage(const FfnWeights& weights, const NeuronFiles& files, FlashFetcher& fetcher, ThreadPool& pool,
           size_t max_tokens, FfnStageOptions options);
  Status load_pinned(uint32_t layer);
  // Evicts what the policy wants gone so that `room` rows fit.
  void make_room(Layer& layer, size_t room, Counters& counters);
  // Marks the neurons of the newest selections in chosen_ and makes room for them. Returns how many of them are not
  // cached.
  size_t choose_seeds(Layer& layer, const Selections& selections, Counters& counters);
  // Computes `selected`; misses for which keep(neuron) holds are appended while there is room.
  Status run(uint32_t layer, std::span<const float> x, size_t tokens, std::span<const uint32_t> selected,
             const Keep& keep, std::span<float> out, Counters& counters);
  // Reads a prefix of `misses` (not empty) into staging and returns its length.
  Result<size_t> fetch_round(uint32_t layer, std::span<const uint32_t> misses, Counters& counters);
  // The row of miss `index` of the last round, which fetched `fetched`.
  NeuronRow staged(uint32_t layer, uint32_t neuron, size_t index, size_t fetched) const;
  void insert(Layer& layer, const NeuronRow& row);

  const FfnWeights& weights_;
  const NeuronFiles& files_;
  FlashFetcher& fetcher_;
  FfnStageOptions options_;
  FfnAccumulator accumulator_;
  std::vector<Layer> layers_;
  std::vector<uint32_t> all_;  // 0 … ffn_size - 1
  std::vector<uint32_t> misses_;
  std::vector<Extent> extents_;
  std::vector<NeuronRow> rows_;
  std::vector<NeuronRow> kept_;
  std::vector<bool> chosen_;  // by neuron: a seed of the window
};

}  // namespace flashneuron
