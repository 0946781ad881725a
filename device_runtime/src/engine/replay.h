// What a recorded activation trace would read from flash under given settings: the cache, the window, the hot set and
// the read planner of a run, without weights, attention or time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "decode/read_batch.h"
#include "flashneuron/engine.h"
#include "flashneuron/options.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"
#include "package/activation_trace.h"

namespace flashneuron {

// Where the neurons of one variant lie and which of them stay: all that a replay needs of a model.
struct ReplayModel {
  uint32_t parts = 1;         // extents of a neuron: 1 bundled, one a row split
  uint32_t record_bytes = 0;  // of one part
  uint32_t neurons_per_shard = 0;
  uint64_t staging_bytes = 0;                 // four areas; one round of reads fits into one
  std::vector<std::vector<uint32_t>> places;  // per layer; empty: each neuron lies at its index
  std::vector<uint32_t> capacity_rows;        // per layer
  std::vector<std::vector<uint32_t>> pinned;  // per layer; empty: none
  bool keep_misses = true;                    // FfnStageOptions::keep_misses
  bool overlap = true;                        // read early what the trace expected
  bool dense = false;                         // every neuron is selected, whatever the trace says
  std::optional<uint32_t> window;             // tokens
};

// A trace alone, of a model that is not here: bundled, in index order; a hot set chosen by how often its first half
// selects each neuron. `rows` are shared among the layers.
Result<ReplayModel> model_of_trace(const ActivationTrace& trace, uint32_t record_bytes, uint64_t rows,
                                   const Options& options);

// Of one layer, sums over the tokens that count: selected, hits, misses, early, early_used, requests and bytes; and the
// requests and bytes of early reads alone. Rounds are reads that are submitted at once.
struct LayerReplay {
  struct Rounds {
    int64_t count = 0;
    int64_t longest_bytes = 0;  // sum of each one's longest read
  };

  Counters all;
  Counters early;
  Rounds demand_rounds;
  Rounds early_rounds;
};

struct Replay {
  Options settings;              // with every choice made
  std::optional<Budget> budget;  // absent without a package
  uint32_t tokens = 0;           // counted
  std::vector<LayerReplay> layers;
  std::vector<uint32_t> capacity_rows;
};

// The first `uncounted` tokens fill the caches. Errors: kCorrupt
// (the trace), kBadInput, if no token is left to count.
Result<std::vector<LayerReplay>> replay(const ReplayModel& model, const ActivationTrace& trace,
                                        const ReadTuning& tuning, uint32_t block_bytes, uint32_t uncounted);

// The package's own trace, or `trace_path`, under `options`, on a device whose block is `block_bytes`. Errors: those of
// Engine::budget() and of replay(); kUnsupported without a trace, or with residency naive, which reads everything.
Result<Replay> replay_package(const Options& options, const std::optional<std::string>& trace_path,
                              uint32_t block_bytes, std::optional<uint32_t> uncounted);

}  // namespace flashneuron
