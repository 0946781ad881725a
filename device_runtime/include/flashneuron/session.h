// Session: one conversation with an engine: KV cache, neuron caches, position. Not thread safe, but for
// request_budget().
// After an error a session is poisoned: every call but reset() fails with kInternal.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "flashneuron/options.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"

namespace flashneuron {

enum class Finish { kEos, kLength, kStopped };

struct TokenEvent {
  int64_t index = 0;
  int32_t id = 0;
  // What this token cost; the first comes out of the prefill and costs only its head. With a draft, an equal part of
  // what its round cost.
  Counters counters;
};

// What came of a change of the budget.
struct BudgetChange {
  int64_t ram_bytes = 0;
  int64_t neurons_bytes = 0;  // of them, for neurons
  uint64_t cache_rows = 0;    // neurons that the caches have room for, all layers together
  int64_t took_us = 0;        // wall time, which counts in no token
};

// Called as work is done; a false answer stops the generation after that token. A call may set_budget().
struct GenerationListener {
  std::function<void(int64_t tokens, const Counters& counters)> on_prefill;
  std::function<bool(const TokenEvent& token)> on_token;
  // A requested budget is in force from the next token on, or was refused and nothing has changed.
  std::function<void(const Result<BudgetChange>& change)> on_budget = nullptr;
};

struct LayerStats {
  Counters counters;             // sum over decode steps
  double window_union_mean = 0;  // neurons used within the window, mean over decode steps
  uint32_t cache_rows = 0;       // neurons in DRAM at the end
};

// With a draft: its work, and what came of it.
struct Speculation {
  int64_t rounds = 0;    // passes of the package over drafted tokens; a last token may need none
  int64_t drafted = 0;   // tokens
  int64_t accepted = 0;  // of them, those that the package would have given too
};

struct Generation {
  std::vector<int32_t> token_ids;  // generated, without the end token
  Finish finish = Finish::kLength;
  int64_t decode_steps = 0;                // tokens after the first, the end token among them
  std::optional<Speculation> speculation;  // absent without a draft
  Counters totals;                         // sum over decode steps
  std::vector<LayerStats> layers;
};

// How predictions follow each other, as shares of a layer's neurons, means over layers and tokens: what a token
// selects, what it and the 4 tokens before it select, and what it selects that those 4 did not.
struct SelectionShares {
  int64_t tokens = 0;  // that had 4 before them; 0 without a predictor
  double selected = 0;
  double united = 0;
  double fresh = 0;
};

struct Score {
  double nll = 0;      // sum of -ln p(ids[i] | ids before i), i from 1
  int64_t tokens = 0;  // scored: ids.size() - 1
};

struct SessionState;

class Session {
 public:
  explicit Session(std::unique_ptr<SessionState> state);  // for Engine::new_session()
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Generates after `prompt`, from position 0. Errors: kBadInput (empty prompt, id out of range, longer than the
  // context), kIo, kInternal.
  Result<Generation> generate(std::span<const int32_t> prompt, const Sampling& sampling,
                              const GenerationListener& listener);
  // Teacher-forced likelihood of `ids` (at least 2), every token through the decode path, so with the predictor's
  // effect. The first `uncounted` tokens of each call are computed but not counted (a cache that warms up). The
  // counters of all scored sequences so far are in totals(); `on_step` gets those of each counted token. Errors: as
  // generate().
  using StepListener = std::function<void(int64_t index, const Counters& counters)>;
  Result<Score> score(std::span<const int32_t> ids, int64_t uncounted = 0, const StepListener& on_step = nullptr);
  SelectionShares selection() const;
  // Of the last generate(), or of all score() calls since reset().
  Counters totals() const;
  int64_t decode_steps() const;
  std::vector<LayerStats> layers() const;
  // Another number of DRAM from the next token on, for what the budget leaves to neurons: caches (window and hot set)
  // shrink at once, and what they no longer hold is the system's when this returns; what they gain they fill as neurons
  // come by. An embedding table in DRAM goes when it no longer fits, and stays on flash from then on. No bit of any
  // result changes. Call it between calls, or from a listener's call. It holds for the engine's later sessions too.
  // Errors, after which all is as it was: kBudgetTooSmall (Engine::budget_of() has the table), kIo, kCorrupt,
  // kInternal.
  Result<BudgetChange> set_budget(int64_t ram_bytes);
  // The same at the next token boundary of this session's work, from any thread, for instance when the system asks for
  // memory. Of several requests before that, the last one counts. on_budget tells what came of it; a score tells
  // nobody.
  void request_budget(int64_t ram_bytes);
  // Forgets everything and heals a poisoned session; the budget stays.
  void reset();

 private:
  void count_steps(size_t tokens);
  // Between tokens: carries out what was requested.
  void take_request(const GenerationListener& listener);
  void start_over();
  std::unique_ptr<SessionState> state_;
};

}  // namespace flashneuron
