// Attention without ExecuTorch or weights, for tests of what is built on it: real causal attention over `kv`, with
// queries, keys and values that are simple functions of the layer's input.
#pragma once

#include <vector>

#include "attention/attention_program.h"
#include "package/manifest.h"

namespace flashneuron {

// Deterministic; outputs depend on the layer, on the position and on every earlier token; cutting the tokens into
// calls in another way does not change a bit. ffn_input has a mean square of 1. Precondition: heads × head_size equals
// hidden_size.
class FakeAttention final : public AttentionProgram {
 public:
  FakeAttention(const ModelFacts& model, uint32_t max_chunk) : model_(model), max_chunk_(max_chunk) {}

  uint32_t max_chunk() const override { return max_chunk_; }
  // Errors: kInternal for more tokens than max_chunk() or than `kv` holds.
  Status layer(uint32_t layer, uint32_t position, uint32_t tokens, const float* residual, const float* ffn_out,
               KvCache& kv, float* residual_out, float* ffn_input) override;
  Status head(const float* residual, const float* ffn_out, std::span<float> logits) override;

 private:
  ModelFacts model_;
  uint32_t max_chunk_;
};

}  // namespace flashneuron
