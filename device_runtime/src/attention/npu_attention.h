// Attention of static graphs, as an NPU takes them: which graph serves a call, and the padding and mask that make it
// fit (FORMAT.md, "Attention programs"). Free of ExecuTorch; whoever runs the graphs is behind StaticGraphs.
//
// A graph has a fixed number of tokens (1, or a chunk of the prompt) and of cache rows (a context). A call takes the
// smallest context that holds the rows before its position; the cache is one for all of them, since a graph reads its
// first rows in place. Rows that are not valid yet, and tokens that only fill up a chunk, are masked.
#pragma once

#include <memory>
#include <vector>

#include "attention/attention_program.h"
#include "attention/npu_memory.h"
#include "package/manifest.h"

namespace flashneuron {

// In and out of one run of a layer's graph of T tokens and C cache rows.
struct StaticCall {
  const float* residual = nullptr;  // [T, hidden]
  const float* ffn_out = nullptr;   // [T, hidden]
  const std::byte* keys = nullptr;  // fp16 [C, kv]
  const std::byte* values = nullptr;
  const float* mask = nullptr;  // [T, C + T], kMasked where a token must not look
};

struct StaticOutputs {               // memory of the graphs, valid until the next run
  const float* residual = nullptr;   // [T, hidden]
  const float* ffn_input = nullptr;  // [T, hidden]
  const float* k = nullptr;          // [T, kv]
  const float* v = nullptr;
};

class StaticGraphs {
 public:
  virtual ~StaticGraphs() = default;
  virtual Result<StaticOutputs> run(uint32_t layer, uint32_t tokens, uint32_t context, const StaticCall& call) = 0;
  virtual Status head(const float* residual, const float* ffn_out, std::span<float> logits) = 0;
};

class NpuAttention final : public AttentionProgram {
 public:
  static constexpr float kMasked = -255.0f;

  // `memory`: what the graphs read in place; null: they take their inputs from anywhere.
  NpuAttention(const ModelFacts& model, const AttentionFacts& facts, std::unique_ptr<StaticGraphs> graphs,
               std::unique_ptr<NpuMemory> memory = nullptr);

  uint32_t max_chunk() const override { return facts_.max_chunk; }
  // Precondition: `kv` is fp16.
  Status layer(uint32_t layer, uint32_t position, uint32_t tokens, const float* residual, const float* ffn_out,
               KvCache& kv, float* residual_out, float* ffn_input) override;
  Status head(const float* residual, const float* ffn_out, std::span<float> logits) override;
  MemorySource* kv_memory() override { return memory_.get(); }

  // Bytes of its own buffers.
  static uint64_t buffer_bytes(const ModelFacts& model, const AttentionFacts& facts);

 private:
  void write_mask(uint32_t rows, uint32_t context, uint32_t position);
  const float* padded(const float* rows, uint32_t tokens, std::vector<float>& room);

  const ModelFacts model_;
  const AttentionFacts facts_;
  const std::unique_ptr<NpuMemory> memory_;  // outlives the graphs, which know its addresses
  const std::unique_ptr<StaticGraphs> graphs_;
  std::vector<float> mask_;
  std::vector<float> residual_;  // [max_chunk, hidden], where a chunk is not full
  std::vector<float> ffn_out_;
};

}  // namespace flashneuron
