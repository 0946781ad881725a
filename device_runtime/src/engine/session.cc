#include "flashneuron/session.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "decode/sampler.h"
#include "engine/engine_state.h"
#include "telemetry/trace.h"

namespace flashneuron {
namespace {

Status check_ids(std::span<const int32_t> ids, const EngineFacts& facts, int64_t context) {
  if (ids.empty()) return {StatusCode::kBadInput, "the prompt is empty; give at least one token"};
  if (static_cast<int64_t>(ids.size()) > context) {
    return {StatusCode::kBadInput, "the prompt has " + std::to_string(ids.size()) + " tokens, but the context holds " +
                                       std::to_string(context) + "; shorten it or raise context"};
  }
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<uint32_t>(id) >= facts.vocab_size) {
      return {StatusCode::kBadInput,
              "token id " + std::to_string(id) + " is outside the vocabulary of " + std::to_string(facts.vocab_size)};
    }
  }
  return {};
}

// -ln softmax(logits)[id], in double.
double negative_log_likelihood(std::span<const float> logits, int32_t id) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
  return most + std::log(sum) - static_cast<double>(logits[static_cast<size_t>(id)]);
}

// Runs `work`; whatever fails in it poisons the session, since caches and KV may be half written.
template <typename Work>
Status guarded(bool& poisoned, const Work& work) {
  if (poisoned) return {StatusCode::kInternal, "the session failed before; reset() it"};
  Status status = work();
  poisoned = !status.ok();
  return status;
}

// The tokens that one pass of the decoder gives after those that are `done`; the first one comes out of the prefill.
Result<std::vector<int32_t>> pass(SessionState& s, const std::vector<int32_t>& done, size_t drafts,
                                  const SampleToken& sample, const std::function<bool(int32_t)>& ends,
                                  Counters& draft) {
  if (drafts > 0) {
    SpanTrack* const spans = s.engine.queue->spans();
    FN_ASSIGN_OR_RETURN(Round round,
                        speculate(*s.decoder, *s.drafter, done.back(), drafts, sample, ends, spans, draft));
    ++s.speculation.rounds;
    s.speculation.drafted += static_cast<int64_t>(drafts);
    s.speculation.accepted += static_cast<int64_t>(round.accepted);
    return std::move(round.ids);
  }
  if (!done.empty()) FN_RETURN_IF_ERROR(s.decoder->step(done.back()));
  FN_ASSIGN_OR_RETURN(const int32_t id, sample(s.decoder->last_token()));
  if (s.drafter) s.drafter->settle({&id, 1});
  return std::vector<int32_t>{id};
}

}  // namespace

Session::Session(std::unique_ptr<SessionState> state) : state_(std::move(state)) {}
Session::~Session() = default;

Result<Generation> Session::generate(std::span<const int32_t> prompt, const Sampling& sampling,
                                     const GenerationListener& listener) {
  SessionState& s = *state_;
  const EngineFacts& facts = s.engine.facts;
  const int64_t context = *s.engine.chosen.options.context;
  FN_RETURN_IF_ERROR(check_ids(prompt, facts, context));
  Generation done;
  const Status status = guarded(s.poisoned, [&]() -> Status {
    start_over();
    SpanTrack* const spans = s.engine.queue->spans();
    take_request(listener);
    Counters draft;  // what it costs now
    {
      const ScopedSpan span(spans, SpanKind::kPrefill, static_cast<uint32_t>(prompt.size()));
      FN_RETURN_IF_ERROR(s.decoder->prefill(prompt));
      if (s.drafter) {
        const TimedSpan drafting(spans, SpanKind::kDraft, draft.draft_us);
        FN_RETURN_IF_ERROR(s.drafter->start(prompt));
      }
    }
    const auto take_counters = [&] {
      draft.wall_us = draft.draft_us;
      Counters counters = s.decoder->take_counters();
      counters += std::exchange(draft, Counters{});
      return counters;
    };
    if (listener.on_prefill) listener.on_prefill(static_cast<int64_t>(prompt.size()), take_counters());
    s.decoder->clear_layer_counters();
    Sampler sampler(sampling);
    const SampleToken sample = [&](size_t token) -> Result<int32_t> {
      FN_RETURN_IF_ERROR(s.decoder->logits(token, s.logits));
      const ScopedSpan span(spans, SpanKind::kSample);
      return sampler.sample(s.logits);
    };
    const auto ends = [&](int32_t id) {
      const auto& eos = facts.eos_token_ids;
      return !sampling.ignore_eos && std::find(eos.begin(), eos.end(), id) != eos.end();
    };
    for (int64_t index = 0; index < sampling.max_new_tokens;) {
      const int64_t left = context - s.decoder->position();  // tokens that still fit
      if (index > 0 && left <= 0) return {};
      take_request(listener);
      const int64_t draftable = s.drafter && index > 0 ? std::min(sampling.max_new_tokens - index, left) - 1 : 0;
      const auto drafts = static_cast<size_t>(std::min<int64_t>(s.engine.chosen.options.draft_tokens, draftable));
      std::vector<int32_t> ids;  // that this pass gives
      {
        const ScopedSpan span(spans, SpanKind::kToken, static_cast<uint32_t>(index));
        FN_ASSIGN_OR_RETURN(ids, pass(s, done.token_ids, drafts, sample, ends, draft));
      }
      const Counters counters = take_counters();
      if (index > 0) {
        count_steps(ids.size());
        s.totals += counters;
      }
      for (size_t i = 0; i < ids.size(); ++i, ++index) {
        if (ends(ids[i])) {
          done.finish = Finish::kEos;
          return {};
        }
        done.token_ids.push_back(ids[i]);
        const auto part = static_cast<int64_t>(i);
        const TokenEvent token{index, ids[i], counters.part(part, static_cast<int64_t>(ids.size()))};
        if (listener.on_token && !listener.on_token(token)) {
          done.finish = Finish::kStopped;
          return {};
        }
      }
    }
    return {};
  });
  FN_RETURN_IF_ERROR(status);
  done.decode_steps = s.decode_steps;
  if (s.drafter) done.speculation = s.speculation;
  done.totals = s.totals;
  done.layers = layers();
  return done;
}

Result<Score> Session::score(std::span<const int32_t> ids, int64_t uncounted, const StepListener& on_step) {
  SessionState& s = *state_;
  FN_RETURN_IF_ERROR(check_ids(ids, s.engine.facts, *s.engine.chosen.options.context));
  if (ids.size() < 2) return Status(StatusCode::kBadInput, "a sequence to score needs at least 2 tokens");
  Score score;
  const Status status = guarded(s.poisoned, [&]() -> Status {
    s.decoder->rewind();
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      take_request({});
      const bool counted = static_cast<int64_t>(i) >= uncounted;
      FN_RETURN_IF_ERROR(s.decoder->step(ids[i]));
      if (counted) {
        count_steps(1);
      } else {
        s.decoder->clear_layer_counters();
      }
      FN_RETURN_IF_ERROR(s.decoder->logits(s.logits));
      const Counters counters = s.decoder->take_counters();
      if (counted) s.totals += counters;
      if (counted && on_step) on_step(static_cast<int64_t>(i), counters);
      score.nll += negative_log_likelihood(s.logits, ids[i + 1]);
      ++score.tokens;
    }
    return {};
  });
  FN_RETURN_IF_ERROR(status);
  return score;
}

SelectionShares Session::selection() const {
  SelectionMeter::Sums sums;
  for (const SelectionMeter& meter : state_->decoder->selection_meters()) sums += meter.sums();
  if (sums.tokens == 0) return {};
  const ModelFacts& model = state_->engine.chosen.manifest().model;
  const double neurons = static_cast<double>(sums.tokens) * model.ffn_size;
  return {sums.tokens / model.layers, static_cast<double>(sums.selected) / neurons,
          static_cast<double>(sums.united) / neurons, static_cast<double>(sums.fresh) / neurons};
}

// Of the pass that was just made.
void Session::count_steps(size_t tokens) {
  SessionState& s = *state_;
  s.decode_steps += static_cast<int64_t>(tokens);
  for (uint32_t layer = 0; layer < s.window_union_sum.size(); ++layer) {
    s.window_union_sum[layer] += static_cast<double>(tokens) * s.ffn->window_union(layer);
  }
}

Counters Session::totals() const { return state_->totals; }
int64_t Session::decode_steps() const { return state_->decode_steps; }

std::vector<LayerStats> Session::layers() const {
  const SessionState& s = *state_;
  const auto steps = static_cast<double>(std::max<int64_t>(1, s.decode_steps));
  std::vector<LayerStats> layers;
  for (uint32_t layer = 0; layer < s.window_union_sum.size(); ++layer) {
    layers.push_back(
        {s.decoder->layer_counters()[layer], s.window_union_sum[layer] / steps, s.ffn->cached_rows(layer)});
  }
  return layers;
}

void Session::start_over() {
  SessionState& s = *state_;
  s.decoder->rewind();
  s.decoder->take_counters();
  s.decoder->clear_layer_counters();
  s.ffn->reset();
  s.totals = Counters{};
  s.decode_steps = 0;
  s.speculation = {};
  std::fill(s.window_union_sum.begin(), s.window_union_sum.end(), 0.0);
}

void Session::reset() {
  start_over();
  state_->poisoned = false;
}

}  // namespace flashneuron
