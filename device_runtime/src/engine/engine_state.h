// What an engine holds, shared with its session.
#pragma once

#include <atomic>
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
};

struct SessionState {
  explicit SessionState(EngineState& engine_state) : engine(engine_state) {}

  EngineState& engine;
  std::optional<KvCache> kv;
  std::unique_ptr<FfnStage> ffn;
  std::optional<Decoder> decoder;
  std::vector<float> logits;
  bool poisoned = false;
  Counters totals;
  int64_t decode_steps = 0;
  std::vector<double> window_union_sum;
  std::atomic<int64_t> requested_ram_bytes = 0;  // 0: none
};

}  // namespace flashneuron
