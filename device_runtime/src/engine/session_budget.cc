// The budget of a session that runs: split anew by the code that split it at the start, carried out between tokens.
#include <utility>

#include "engine/engine_state.h"
#include "engine/memory_budget.h"
#include "flashneuron/session.h"
#include "telemetry/timer.h"
#include "telemetry/trace.h"

namespace flashneuron {

Result<BudgetChange> Session::set_budget(int64_t ram_bytes) {
  SessionState& s = *state_;
  EngineState& engine = s.engine;
  if (s.poisoned) return Status(StatusCode::kInternal, "the session failed before; reset() it");
  const int64_t start_us = now_us();
  const ScopedSpan span(engine.queue->spans(), SpanKind::kMemory);
  // A whole table takes longer to read than any token may wait, and a token needs one or two of its rows.
  engine.chosen.rest.embedding_wanted = engine.embedding->resident();
  Budget budget = split_ram(engine.chosen, ram_bytes);
  FN_RETURN_IF_ERROR(check_budget(budget));
  FN_ASSIGN_OR_RETURN(CacheShares caches, share_neurons(engine.chosen, budget));
  if (role_bytes(budget, "embedding") == 0) engine.embedding->unload();
  s.ffn->resize(caches);
  BudgetChange change{.ram_bytes = ram_bytes, .neurons_bytes = role_bytes(budget, "neurons")};
  for (const uint32_t rows : caches.capacity_rows) change.cache_rows += rows;
  engine.chosen.budget = std::move(budget);
  engine.chosen.caches = std::move(caches);
  change.took_us = now_us() - start_us;
  return change;
}

void Session::request_budget(int64_t ram_bytes) { state_->requested_ram_bytes.store(ram_bytes); }

void Session::take_request(const GenerationListener& listener) {
  const int64_t ram_bytes = state_->requested_ram_bytes.exchange(0);
  if (ram_bytes == 0) return;
  const Result<BudgetChange> change = set_budget(ram_bytes);
  if (listener.on_budget) listener.on_budget(change);
}

}  // namespace flashneuron
