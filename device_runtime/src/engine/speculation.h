// Speculative decoding: a small model drafts tokens, the package verifies them in one pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "decode/decoder.h"
#include "decode/ffn_stage.h"
#include "decode/sampler.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"

namespace flashneuron {

// Drafts greedily with a decoder of its own.
class Drafter {
 public:
  // `decoder` and its `ffn` must outlive it.
  Drafter(Decoder& decoder, FfnStage& ffn, uint32_t vocab_size);

  // A new text: its prompt. Errors: those of Decoder.
  Status start(std::span<const int32_t> prompt);
  // Tokens of the text that were settled since, in order.
  void settle(std::span<const int32_t> ids);
  // The next `count` tokens, at least 1, after all that were settled (at least one). Valid until the next call.
  Result<std::span<const int32_t>> propose(size_t count);

 private:
  Decoder* decoder_;
  FfnStage* ffn_;
  Sampler greedy_;
  std::vector<float> logits_;
  std::vector<int32_t> unseen_;   // settled, not in the KV cache yet
  std::vector<int32_t> drafted_;  // all but the last are in the KV cache, behind what was settled
};

// What one round gave: drafted tokens that were accepted, then one of the package's own, unless a token ended the text.
struct Round {
  std::vector<int32_t> ids;
  size_t accepted = 0;
};

// What the package itself gives after token `token` of the chunk that it verified last; called in order, each once.
using SampleToken = std::function<Result<int32_t>(size_t token)>;

// `last`: the token that `decoder` and `drafter` have not seen. The drafter settles what the round gives. The draft's
// time is added to `cost`. Precondition: `decoder` has room for count + 1 tokens. Errors: those of Decoder.
Result<Round> speculate(Decoder& decoder, Drafter& drafter, int32_t last, size_t count, const SampleToken& sample,
                        const std::function<bool(int32_t)>& ends, SpanTrack* spans, Counters& cost);

}  // namespace flashneuron
