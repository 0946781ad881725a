// Attention, norms and head of a model, whoever runs them (ExecuTorch on CPU or NPU, a fake in tests). See FORMAT.md,
// "Attention programs".
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "attention/kv_cache.h"
#include "core/memory_source.h"
#include "flashneuron/status.h"
#include "package/package.h"

namespace flashneuron {

class OperatorProfile;

class AttentionProgram {
 public:
  virtual ~AttentionProgram() = default;

  // Largest `tokens` of one call of layer().
  virtual uint32_t max_chunk() const = 0;
  // One layer for `tokens` tokens from `position` on. residual, ffn_out: in, [tokens, hidden]; residual_out, ffn_input:
  // out, [tokens, hidden]; residual_out may be the same memory as residual. Keys and values are appended to `kv`, which
  // has cache_rows() rows at least. A token's bits do not depend on how the tokens are cut into calls, nor on threads;
  // on an NPU they do depend on the cut, since another graph computes them. Errors: kInternal.
  virtual Status layer(uint32_t layer, uint32_t position, uint32_t tokens, const float* residual, const float* ffn_out,
                       KvCache& kv, float* residual_out, float* ffn_input) = 0;
  // Logits of one token. residual, ffn_out: [hidden]; logits: [vocab_size].
  virtual Status head(const float* residual, const float* ffn_out, std::span<float> logits) = 0;
  // Where a KvCache has to lie to be read in place; null: anywhere, if need be it is copied.
  virtual MemorySource* kv_memory() { return nullptr; }
};

// Rows that a KvCache of `context` tokens needs: static graphs read as many as they were compiled for.
inline uint32_t cache_rows(const AttentionFacts& facts, uint32_t context) {
  const auto found = std::lower_bound(facts.contexts.begin(), facts.contexts.end(), context);
  return found == facts.contexts.end() ? context : *found;
}

struct AttentionEstimate {
  uint64_t attention_bytes = 0;  // packed weights and activation memory of the layers
  uint64_t head_bytes = 0;
};

// What load_executorch_attention will hold in DRAM, from the package alone: an upper bound, within 512 KiB (measured).
// While it loads, one program's weights are there twice: the head's first, when nothing else is, then each layer's.
AttentionEstimate estimate_executorch_attention(const Package& package, const AttentionFacts& facts);

// The ExecuTorch programs of `facts`, all loaded, on `threads` threads. Only one may be alive in a process unless all
// have the same number of threads: ExecuTorch has one pool. `profile`, if any, records every run. Errors: kIo,
// kCorrupt, kUnsupported, kOutOfMemory, kInternal, each with the file's name.
Result<std::unique_ptr<AttentionProgram>> load_executorch_attention(const Package& package, const AttentionFacts& facts,
                                                                    int threads, OperatorProfile* profile = nullptr);

// The same of an NPU's programs and of the libraries in the folder `libraries`. While a file is loaded its pages are
// there too, which the system can take back at any time.
AttentionEstimate estimate_npu_attention(const Package& package, const AttentionFacts& facts,
                                         const std::string& libraries);

// The graphs of `facts` that `context` tokens need, through the libraries in the folder `libraries`. Errors: as above,
// kUnsupported also where a library cannot be loaded.
Result<std::unique_ptr<AttentionProgram>> load_npu_attention(const Package& package, const AttentionFacts& facts,
                                                             uint32_t context, const std::string& libraries,
                                                             OperatorProfile* profile = nullptr);

}  // namespace flashneuron
