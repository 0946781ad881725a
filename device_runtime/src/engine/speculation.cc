// Speculative decoding (Leviathan et al., 2211.17192; LLM in a flash, appendix). What a token costs on flash is mostly
// what it reads, and what several tokens in a row select overlaps. So a small model that is all in DRAM drafts the next
// n tokens, and the package computes the last certain token and all drafts in one pass, which reads what they need
// together.
//
// Acceptance is by equality. After each token of the pass the package chooses the next one by its own sampler from its
// own logits, just as it would without a draft: the pass gives each token the bits that it has alone, and the sampler
// draws once for each token that is given, in order. As long as the choice is the drafted token the next logits are
// those of the same text; the first other choice ends the round, and the drafts behind it are forgotten. So tokens are
// the same as without a draft at any temperature, whatever the draft says. A round gives one token at least, and
// n + 1 if all are accepted: the last logits are good for one more.
//
// (Leviathan et al. accept by a ratio of probabilities, which keeps the distribution, not the tokens. For greedy
// choices both rules are one.)
//
// Forgotten tokens leave rows in both KV caches, which are overwritten before they are read. In the package's caches of
// neurons they leave nothing in the window (decode/ffn_stage.h).
#include "engine/speculation.h"

#include <algorithm>

#include "telemetry/trace.h"

namespace flashneuron {

Drafter::Drafter(Decoder& decoder, FfnStage& ffn, uint32_t vocab_size)
    : decoder_(&decoder), ffn_(&ffn), greedy_(Sampling{}), logits_(vocab_size) {}

Status Drafter::start(std::span<const int32_t> prompt) {
  decoder_->rewind();
  ffn_->reset();
  unseen_.clear();
  drafted_.clear();
  return decoder_->prefill(prompt);
}

void Drafter::settle(std::span<const int32_t> ids) {
  const size_t seen = drafted_.empty() ? 0 : drafted_.size() - 1;
  const std::span<const int32_t> there = std::span(drafted_).first(seen);
  const auto same = std::mismatch(there.begin(), there.end(), ids.begin(), ids.end()).first - there.begin();
  decoder_->rewind(decoder_->position() - static_cast<uint32_t>(seen - static_cast<size_t>(same)));
  unseen_.insert(unseen_.end(), ids.begin() + same, ids.end());
  drafted_.clear();
}

Result<std::span<const int32_t>> Drafter::propose(size_t count) {
  for (const int32_t id : unseen_) FN_RETURN_IF_ERROR(decoder_->step(id));
  unseen_.clear();
  drafted_.clear();
  while (drafted_.size() < count) {
    if (!drafted_.empty()) FN_RETURN_IF_ERROR(decoder_->step(drafted_.back()));
    FN_RETURN_IF_ERROR(decoder_->logits(logits_));
    drafted_.push_back(greedy_.sample(logits_));
  }
  return std::span<const int32_t>(drafted_);
}

Result<Round> speculate(Decoder& decoder, Drafter& drafter, int32_t last, size_t count, const SampleToken& sample,
                        const std::function<bool(int32_t)>& ends, SpanTrack* spans, Counters& cost) {
  std::vector<int32_t> chunk{last};
  {
    const TimedSpan span(spans, SpanKind::kDraft, cost.draft_us);
    FN_ASSIGN_OR_RETURN(const std::span<const int32_t> drafted, drafter.propose(count));
    chunk.insert(chunk.end(), drafted.begin(), drafted.end());
  }
  FN_RETURN_IF_ERROR(decoder.verify(chunk));
  Round round;
  for (bool on = true; on;) {
    const size_t token = round.ids.size();
    FN_ASSIGN_OR_RETURN(const int32_t id, sample(token));
    round.ids.push_back(id);
    on = token < count && id == chunk[token + 1];
    round.accepted += on ? 1 : 0;
    on = on && !ends(id);
  }
  decoder.keep(round.ids.size());
  drafter.settle(round.ids);
  return round;
}

}  // namespace flashneuron
