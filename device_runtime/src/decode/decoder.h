// The decode loop: one token, from flash to logits. The paper's steps are switches of the parts, not other loops.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "attention/attention_program.h"
#include "attention/kv_cache.h"
#include "core/thread_pool.h"
#include "decode/embedding.h"
#include "decode/ffn_stage.h"
#include "decode/read_batch.h"
#include "decode/whole_file_reads.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"
#include "predictor/predictor.h"
#include "telemetry/selection_meter.h"

namespace flashneuron {

// What a decoder works with; all of it must outlive the decoder.
struct DecoderParts {
  const ModelFacts& model;
  ThreadPool& pool;
  ReadQueue& queue;
  Embedding& embedding;
  AttentionProgram& attention;
  KvCache& kv;
  Predictor* predictor = nullptr;  // null: dense
  FfnStage& ffn;
  std::vector<WholeFileReads>* naive = nullptr;  // residency naive: one a layer, then one for head and embedding
};

class Decoder {
 public:
  // Called after each layer with the residual stream of the last token at hand, its FFN included: [hidden_size].
  using LayerObserver = std::function<void(uint32_t layer, std::span<const float> residual)>;

  explicit Decoder(const DecoderParts& parts);

  // Runs a prompt densely, chunk by chunk, and seeds the window from its last chunk. Precondition: ids is not empty,
  // and position() + ids.size() fits into the KV cache. The last token's state is ready for logits(). Errors: kIo,
  // kInternal.
  Status prefill(std::span<const int32_t> ids);
  // Runs one token by the predictor, or densely without one.
  Status step(int32_t id);
  // Logits after the last prefill or step: [vocab_size].
  Status logits(std::span<float> out);

  uint32_t position() const { return position_; }
  // Position 0 again; the neuron caches stay.
  void rewind() { position_ = 0; }
  // Counters since the last call: the token's, and each layer's share.
  Counters take_counters();
  const std::vector<Counters>& layer_counters() const { return layers_; }
  // Layers' counters and sums of selections start at 0.
  void clear_layer_counters();
  // Of the tokens that went through step() with a predictor.
  const std::vector<SelectionMeter>& selection_meters() const { return meters_; }
  void observe(LayerObserver observer) { observer_ = std::move(observer); }

  // DRAM that a decoder's own buffers take, with a predictor of `input`.
  static uint64_t buffer_bytes(const ModelFacts& model, uint32_t max_chunk, PredictorInput input);

 private:
  Status forward(std::span<const int32_t> ids, bool dense, bool seed);
  // Notes the layer's input, which attention overwrites, and where the predictor goes by it, selects neurons and starts
  // their reads.
  Status enter(uint32_t layer, size_t tokens, bool dense, Counters& counters);
  Status ffn(uint32_t layer, size_t tokens, bool dense, bool seed, Counters& counters);
  // The neurons that the predictor of `of_layer` selects by what it reads of `layer`, the present one.
  void select(uint32_t layer, uint32_t of_layer, size_t token, std::vector<uint32_t>& selected, Counters& counters);
  PredictorInput predictor_input() const;
  // What the predictor reads of the present layer, a row of hidden_size a token.
  const std::vector<float>& predictor_rows() const;

  DecoderParts parts_;
  uint32_t position_ = 0;
  size_t last_tokens_ = 0;  // tokens of the last chunk
  std::vector<float> residual_;
  std::vector<float> ffn_input_;
  std::vector<float> ffn_out_;
  std::vector<float> layer_input_;  // or normalised; empty unless the predictor reads it
  std::vector<uint32_t> selected_;
  std::vector<uint32_t> early_;  // of the next layer, by this layer's row
  Counters token_;
  std::vector<Counters> layers_;
  std::vector<SelectionMeter> meters_;  // per layer
  LayerObserver observer_;
};

}  // namespace flashneuron
