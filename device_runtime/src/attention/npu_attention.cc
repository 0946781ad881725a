#include "attention/npu_attention.h"

#include <algorithm>
#include <string>
#include <utility>

namespace flashneuron {

NpuAttention::NpuAttention(const ModelFacts& model, const AttentionFacts& facts, std::unique_ptr<StaticGraphs> graphs,
                           std::unique_ptr<NpuMemory> memory)
    : model_(model),
      facts_(facts),
      memory_(std::move(memory)),
      graphs_(std::move(graphs)),
      mask_(size_t{facts.max_chunk} * (facts.contexts.back() + facts.max_chunk)),
      residual_(size_t{facts.max_chunk} * model.hidden_size),
      ffn_out_(residual_.size()) {}

uint64_t NpuAttention::buffer_bytes(const ModelFacts& model, const AttentionFacts& facts) {
  const uint64_t mask = uint64_t{facts.max_chunk} * (facts.contexts.back() + facts.max_chunk);
  return sizeof(float) * (mask + 2 * uint64_t{facts.max_chunk} * model.hidden_size);
}

Status NpuAttention::layer(uint32_t layer, uint32_t position, uint32_t tokens, const float* residual,
                           const float* ffn_out, KvCache& kv, float* residual_out, float* ffn_input) {
  const auto context = std::lower_bound(facts_.contexts.begin(), facts_.contexts.end(), position);
  if (layer >= facts_.layers.size() || tokens == 0 || tokens > facts_.max_chunk || context == facts_.contexts.end() ||
      std::max(*context, position + tokens) > kv.capacity()) {
    return {StatusCode::kInternal, "attention layer " + std::to_string(layer) + ": " + std::to_string(tokens) +
                                       " tokens at position " + std::to_string(position) + " do not fit"};
  }
  const uint32_t rows = tokens == 1 ? 1 : facts_.max_chunk;
  write_mask(rows, *context, position);
  const StaticCall call{.residual = tokens == rows ? residual : padded(residual, tokens, residual_),
                        .ffn_out = tokens == rows ? ffn_out : padded(ffn_out, tokens, ffn_out_),
                        .keys = kv.keys(layer),
                        .values = kv.values(layer),
                        .mask = mask_.data()};
  FN_ASSIGN_OR_RETURN(const StaticOutputs out, graphs_->run(layer, rows, *context, call));
  kv.append(layer, position, tokens, out.k, out.v);
  const size_t count = size_t{tokens} * model_.hidden_size;
  std::copy_n(out.residual, count, residual_out);
  std::copy_n(out.ffn_input, count, ffn_input);
  return {};
}

Status NpuAttention::head(const float* residual, const float* ffn_out, std::span<float> logits) {
  return graphs_->head(residual, ffn_out, logits);
}

// Row t sees cache rows before `position` and new tokens up to t.
void NpuAttention::write_mask(uint32_t rows, uint32_t context, uint32_t position) {
  float* row = mask_.data();
  for (uint32_t t = 0; t < rows; ++t, row += context + rows) {
    std::fill_n(row, position, 0.0f);
    std::fill(row + position, row + context, kMasked);
    std::fill_n(row + context, t + 1, 0.0f);
    std::fill(row + context + t + 1, row + context + rows, kMasked);
  }
}

const float* NpuAttention::padded(const float* rows, uint32_t tokens, std::vector<float>& room) {
  const size_t count = size_t{tokens} * model_.hidden_size;
  std::copy_n(rows, count, room.begin());
  std::fill(room.begin() + static_cast<ptrdiff_t>(count), room.end(), 0.0f);
  return room.data();
}

}  // namespace flashneuron
