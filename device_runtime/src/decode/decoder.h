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
  // Runs several tokens, at most kMostVerified and the programs' max_chunk, in one pass, so that what they need is read
  // once: the last token that is certain, and drafted ones after it. Each is computed as step() would, to the same
  // bits. Call keep() next. Errors: as prefill().
  Status verify(std::span<const int32_t> ids);
  static constexpr uint32_t kMostVerified = 32;
  // Of the tokens of the last verify() only the first `count`, at least 1, count: for the position (their rows of the
  // KV cache are the only ones that are read again) and for the window.
  void keep(size_t count);
  // Logits after the last prefill or step: [vocab_size].
  Status logits(std::span<float> out) { return logits(last_token(), out); }
  // The same after token `token` of the last verify(), or last_token() of any.
  Status logits(size_t token, std::span<float> out);
  size_t last_token() const { return last_tokens_ - 1; }

  uint32_t position() const { return position_; }
  // An earlier position again; the neuron caches stay.
  void rewind(uint32_t position = 0) { position_ = position; }
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
  // What verify() takes beside them, at most.
  static uint64_t verify_bytes(const ModelFacts& model);

 private:
  enum class Pass { kPrompt, kEndOfPrompt, kStep, kVerify };

  Status forward(std::span<const int32_t> ids, Pass pass);
  // Notes the layer's input, which attention overwrites, and where the predictor goes by it, selects neurons and starts
  // their reads.
  Status enter(uint32_t layer, size_t tokens, Pass pass, Counters& counters);
  Status ffn(uint32_t layer, size_t tokens, Pass pass, Counters& counters);
  Status verify_ffn(uint32_t layer, size_t tokens, Counters& counters);
  // The neurons that the predictor of `of_layer` selects by what it reads of `layer`, the present one.
  void select(uint32_t layer, uint32_t of_layer, size_t token, std::vector<uint32_t>& selected, Counters& counters);
  // The same of each token of a chunk; everything without a predictor.
  void select_chunk(uint32_t layer, uint32_t of_layer, size_t tokens, ChunkSelection& selected, Counters& counters);
  // Of a layer, for the last verify().
  ChunkSelection& chunk(uint32_t layer) { return chunks_[parts_.predictor == nullptr ? 0 : layer]; }
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
  std::vector<ChunkSelection> chunks_;
  ChunkSelection early_chunk_;
  std::vector<uint32_t> selecting_;  // by neuron: bit t: token t of a chunk selects it; all 0 between uses
  Counters token_;
  std::vector<Counters> layers_;
  std::vector<SelectionMeter> meters_;  // per layer
  LayerObserver observer_;
};

}  // namespace flashneuron
