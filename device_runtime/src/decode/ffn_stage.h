// The FFN of every layer: finds each selected neuron's row in DRAM or brings it from flash, and computes.
//
// One algorithm serves all residencies; they differ only in what stays in the caches:
//   naive   nothing: every row is read, used and forgotten.
//   hybrid  pinned rows, loaded once; other misses are forgotten.
//   cached  with a predictor, a pinned hot set, loaded once, and the window's neurons: misses are inserted after the
//           window policy made room; without one, pinned rows as in hybrid, as many as the budget holds.
// Between tokens the caches may shrink and grow (resize). Who is pinned only then is not loaded there and then, which
// would hold a token up: its row is copied when it is read anyway, by the first token that selects it, or that reads
// everything. A prefill keeps such rows before any others.
//
// A call for one layer has three steps, so that flash and processor work at the same time:
//   begin   split the selected neurons (ascending; all of them when dense) into cached ones, ones that are on their way
//           because they were read early, and others, whose reads start now; evict what must go.
//   (the caller predicts the next layer from this layer's input, and starts reading what it will probably miss)
//   finish  compute the activations of cached rows, which needs no order; then walk over the selected neurons in index
//           order, waiting only for a row that has not arrived when the walk comes to it, and sum; copy into the cache
//           the misses that stay.
// A neuron that was read early but is not selected after all is forgotten: early reads decide when bytes come, never
// what is computed. A cached row never moves, and evictions come before the reads.
//
// What does not fit into a staging area at once comes in rounds: two areas take turns, so that one is filled while the
// other is computed from.
//
// Drafted tokens (decode/decoder.h, verify) go through the same steps together: the union of what they select is found
// or read once, and each row is computed for the tokens that select it. Which of them count is known only when all
// layers are done. Until then the window knows the first token alone, which always counts; what the others use is held.
// Misses go into the cache as ever, those of the first token before those of the others. settle() then tells the window
// which tokens count. What only rejected ones selected is unused, and the first to go: at once with a window of k
// tokens. Where the capacity is short, its room came from the oldest, as the room of a token that counts does.
//
// gate_first (gated models, one token at a time) reads in two phases: the gates of all misses, then up rows and down
// columns of those alone that their gate lets fire (kernels::gate_passes). The others are silent whatever the rest of
// their record says, so they leave the call, and the cache keeps none of them. Early reads are of gates alone.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cache/neuron_cache.h"
#include "cache/window_policy.h"
#include "core/thread_pool.h"
#include "decode/neuron_batch.h"
#include "decode/neuron_files.h"
#include "decode/read_batch.h"
#include "ffn/ffn_accumulator.h"
#include "flashneuron/options.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"

namespace flashneuron {

// What of the neurons DRAM holds.
struct CacheShares {
  std::vector<uint32_t> capacity_rows;  // per layer
  // With keep_misses, per layer and at most its capacity: neurons that are never evicted. Empty: none. Without, the
  // first ones of each layer are pinned, as many as its capacity.
  std::vector<std::vector<uint32_t>> pinned;
};

struct FfnStageOptions {
  bool read_all = false;           // naive: every row of the layer is read, selected or not
  bool keep_misses = false;        // cached with a predictor; otherwise cached rows are pinned
  bool overlap = true;             // compute while reads are in flight; off: wait for them first
  bool gate_first = false;         // gated models, without read_all: read in two phases
  std::optional<uint32_t> window;  // tokens; absent: as many as the capacity holds
  CacheShares caches;
};

// What of every layer's FFN is always in DRAM.
struct FfnWeights {
  uint32_t hidden_size = 0;
  uint32_t ffn_size = 0;
  DType dtype = DType::kFp32;
  std::vector<ActivationRule> rules;  // per layer; all are gated, or none
  // Per layer: ffn_size up biases, then hidden_size down biases.
  std::vector<std::vector<float>> biases;
  // Per layer the content of its .scales file: ffn_size rows of (gate scales, then) up scales, then of down scales. No
  // layers for floats.
  std::vector<std::vector<std::byte>> scales;

  // Of a bundle, in its order: (gate row,) up row, down column; without a gate the last is not used.
  using RowPointers = std::array<const std::byte*, 3>;
  bool gated() const { return rules.front().gated; }
  uint32_t rows() const { return bundle_rows(gated()); }
  // Bytes of one of them.
  size_t vector_bytes() const { return row_bytes(dtype, hidden_size); }
  RowPointers rows_of(const std::byte* record) const;
  // A neuron whose rows lie at `rows`, with its scales.
  NeuronRow row(uint32_t layer, uint32_t neuron, const RowPointers& rows) const;
};

// What the tokens of one chunk select, each for itself: at most 32.
struct ChunkSelection {
  std::vector<uint32_t> neurons;  // that any of them selects, ascending
  std::vector<uint32_t> tokens;   // by neuron of `neurons`: bit t is set if token t selects it
};

class FfnStage {
 public:
  static constexpr size_t kMaxRows = 1024;  // rows that one call hands to the accumulator
  // What one neuron takes in a cache: its bundle, rounded up as on flash.
  static uint32_t cache_row_bytes(uint32_t hidden_size, DType dtype, bool gated);

  // All references must outlive the stage. Loads pinned rows. Errors: kOutOfMemory, kIo.
  static Result<std::unique_ptr<FfnStage>> create(const FfnWeights& weights, const NeuronFiles& files, Staging& staging,
                                                  ThreadPool& pool, size_t max_tokens, const FfnStageOptions& options);

  // One token, `selected` ascending: begin, then finish, with at most one read_early between them. x: [hidden_size],
  // out: [hidden_size]; x and selected must outlive finish.
  Status begin(uint32_t layer, std::span<const float> x, std::span<const uint32_t> selected, Counters& counters);
  Status finish(std::span<float> out, Counters& counters);
  // The same of several tokens, not with gate_first: begin, then finish. Of these only the first counts for the window,
  // until settle() says how many, from the first on, do. x, out: [tokens, hidden_size]. Each token's bits are those
  // that it has alone. Counters: a neuron is selected once by each token; if it is read, that is one miss, and hits for
  // the others.
  Status begin(uint32_t layer, std::span<const float> x, size_t tokens, const ChunkSelection& selected,
               Counters& counters);
  void settle(uint32_t layer, const ChunkSelection& selected, size_t count, Counters& counters);
  // Whether an early prediction for this layer can save anything.
  bool wants_early(uint32_t layer) const;
  // Starts reading those of `predicted` (ascending) that `layer` does not hold, as many as fit; its begin takes them
  // up.
  Status read_early(uint32_t layer, std::span<const uint32_t> predicted, Counters& counters);
  // All neurons for `tokens` tokens. x, out: [tokens, hidden_size].
  Status dense(uint32_t layer, std::span<const float> x, size_t tokens, std::span<float> out, Counters& counters);
  // The same, and seeds the window: `selections` gives the neurons of the chunk's tokens, the newest first, nullopt
  // when there are no more. With a window of k tokens the last k are asked for; without one, as many as fill the
  // capacity, and rows left over take whatever streams by.
  using Selections = std::function<std::optional<std::span<const uint32_t>>()>;
  Status dense_and_seed(uint32_t layer, std::span<const float> x, size_t tokens, const Selections& selections,
                        std::span<float> out, Counters& counters);

  // From the next token on, other shares; evicts what has no room any more. Not between begin and finish.
  void resize(const CacheShares& caches);

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

  FfnStage(const FfnWeights& weights, const NeuronFiles& files, Staging& staging, ThreadPool& pool, size_t max_tokens,
           FfnStageOptions options);
  // Of a layer, by `caches`.
  std::span<const uint32_t> pinned(const CacheShares& caches, uint32_t layer) const;
  Status load_pinned(uint32_t layer, std::span<const uint32_t> pinned);
  // The neurons of one token of a chunk, ascending; valid until the next call.
  std::span<const uint32_t> of_token(const ChunkSelection& selected, size_t token);
  // Evicts what the policy wants gone so that `room` rows fit.
  void make_room(Layer& layer, size_t room, Counters& counters);
  // Marks pinned neurons that are not there and those of the newest selections in chosen_, and makes room for them.
  // Returns how many of them are not cached.
  size_t choose_seeds(Layer& layer, const Selections& selections, Counters& counters);
  // The two halves of every call. Misses for which keep(neuron) holds are inserted while there is room.
  // `masks`: ChunkSelection::tokens; empty: every token selects all.
  Status start(uint32_t layer, std::span<const float> x, size_t tokens, std::span<const uint32_t> selected, Keep keep,
               Counters& counters, std::span<const uint32_t> masks = {});
  // Phase one: multiplies the gates of what is missed, and takes silent neurons out of the call.
  Status read_gates(Counters& counters);
  // Of what is missed and in this batch of gates: waits for it, notes the products, and gives those that pass a row in
  // the cache while there is room.
  Status take_gates(NeuronBatch& batch, Counters& counters);
  Status walk(std::span<float> out, Counters& counters);
  // Starts the next round of reads on demand where a staging area is free.
  Status start_rounds(Counters& counters);
  // Frees the areas of rounds that lie before selected neuron i, all of them where there is none, for the next ones.
  Status turn_rounds(size_t i, Counters& counters);
  // Fills rows_[i] if the record of selected neuron i is there.
  bool locate(size_t i);
  // Waits for the record of selected neuron i.
  Status wait_for(size_t i, Counters& counters);
  // Adds selected neurons [begin, end), all located, and keeps those that stay.
  void add(size_t begin, size_t end, Counters& counters);
  NeuronRow row(const NeuronBatch& batch, size_t index) const;
  std::byte* insert(Layer& layer, uint32_t neuron);
  // Copies the rows that `row` has into a cache's row.
  void copy(const NeuronRow& row, std::byte* record) const;

  // The call between begin and finish.
  struct Call {
    uint32_t layer = 0;
    size_t tokens = 0;
    bool gate_first = false;
    std::span<const uint32_t> selected;
    std::span<const uint32_t> masks;  // by selected neuron; empty: every token selects all
    Keep keep;
    std::vector<uint32_t> demand;  // neurons to read on demand, ascending
    size_t started = 0;            // of them, in rounds that have been started
    std::vector<NeuronRow> rows;   // by selected neuron; up is null until its record is there
    std::vector<bool> missed;      // by selected neuron: not from the cache
  };

  const FfnWeights& weights_;
  const NeuronFiles& files_;
  ReadQueue& queue_;
  FfnStageOptions options_;
  FfnAccumulator accumulator_;
  std::vector<NeuronBatch> demand_;  // two rounds that take turns
  std::vector<NeuronBatch> early_;   // of even and of odd layers
  std::vector<Layer> layers_;
  std::vector<uint32_t> all_;  // 0 … ffn_size - 1
  Call call_;
  std::vector<uint32_t> early_misses_;
  std::vector<NeuronRow> arrived_;
  std::vector<float> arrived_activations_;
  std::vector<float> activations_;  // one token: by selected neuron; several: of one add(), [rows, tokens]
  std::vector<uint32_t> of_token_;
  std::vector<bool> chosen_;  // by neuron: a seed of the window
  // Of gate_first; by neuron, of the call's misses alone.
  std::vector<float> gate_products_;
  std::vector<std::byte*> reserved_;  // its row in the cache, its gate there already; null: none
  std::vector<uint32_t> passing_;     // the selected neurons without the silent ones
};

}  // namespace flashneuron
