// What an engine holds, shared with its session.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "attention/attention_program.h"
#include "attention/kv_cache.h"
#include "attention/operator_profile.h"
#include "core/thread_pool.h"
#include "decode/decoder.h"
#include "decode/embedding.h"
#include "decode/ffn_stage.h"
#include "decode/neuron_files.h"
#include "decode/read_batch.h"
#include "decode/whole_file_reads.h"
#include "engine/configuration.h"
#include "engine/speculation.h"
#include "flash/flash_reader.h"
#include "flashneuron/engine.h"
#include "predictor/predictor.h"

namespace flashneuron {

// Members are declared in the order in which they are made; later ones refer to earlier ones.
struct EngineState {
  explicit EngineState(Configuration configuration) : chosen(std::move(configuration)), pool(chosen.options.threads) {}

  Configuration chosen;
  EngineFacts facts;
  ThreadPool pool;
  std::unique_ptr<FlashReader> reader;
  std::optional<ReadQueue> queue;
  std::optional<Staging> staging;
  std::optional<NeuronFiles> neuron_files;
  std::optional<Embedding> embedding;
  std::vector<WholeFileReads> naive;  // empty unless residency is naive
  FfnWeights weights;
  std::unique_ptr<Predictor> predictor;      // null: none
  std::unique_ptr<OperatorProfile> profile;  // null: not asked for
  std::unique_ptr<AttentionProgram> attention;
  std::unique_ptr<EngineState> draft;  // null: none
};

struct SessionState {
  explicit SessionState(EngineState& engine_state) : engine(engine_state) {}

  EngineState& engine;
  std::optional<KvCache> kv;
  std::unique_ptr<FfnStage> ffn;
  std::optional<Decoder> decoder;
  std::vector<float> logits;
  std::unique_ptr<SessionState> draft;  // null: none
  std::optional<Drafter> drafter;       // over `draft`
  bool poisoned = false;
  Counters totals;
  int64_t decode_steps = 0;
  Speculation speculation;
  std::vector<double> window_union_sum;
  std::atomic<int64_t> requested_ram_bytes = 0;  // 0: none
};

// Loads the attention programs that were chosen; tests bring a fake. Errors: those of load_executorch_attention().
using AttentionLoader =
    std::function<Result<std::unique_ptr<AttentionProgram>>(const Configuration&, OperatorProfile*)>;

// What Engine::load() and Engine::new_session() do.
Result<std::unique_ptr<EngineState>> load_engine(const Options& options, Trace* trace, const AttentionLoader& load);
Result<std::unique_ptr<SessionState>> make_session(EngineState& engine);

}  // namespace flashneuron
