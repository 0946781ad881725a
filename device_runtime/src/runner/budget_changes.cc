#include "runner/budget_changes.h"

#include <algorithm>

#include "engine/memory_budget.h"
#include "telemetry/process_memory.h"
#include "telemetry/system_memory.h"

namespace flashneuron {
namespace {

std::optional<MemoryFacts> read_facts() {
  const std::optional<int64_t> available = read_available_bytes();
  if (!available) return std::nullopt;
  return MemoryFacts{*available, read_rss_bytes()};
}

int64_t ram_of(const Budget& budget) { return budget.ram_bytes.value_or(budget.all_resident_bytes); }

}  // namespace

Result<BudgetChanges> BudgetChanges::create(const BudgetKeys& keys, const Engine& engine, Budget& refused) {
  BudgetChanges changes(engine);
  for (const RamAt& change : keys.ram_at) {
    refused = engine.budget_of(change.ram_bytes);
    FN_RETURN_IF_ERROR(check_budget(refused));
    changes.schedule_.push_back(change);
  }
  if (!keys.follow_memory) return changes;
  if (!read_facts()) {
    return Status(StatusCode::kUnsupported, "follow_memory: the system does not tell its MemAvailable; leave it out");
  }
  const Budget& budget = engine.budget();
  changes.follower_.emplace(FollowRules{*keys.follow_memory, budget.minimum_bytes, ram_of(budget)}, read_facts);
  return changes;
}

std::optional<int64_t> BudgetChanges::before(int64_t index, int64_t now_us) {
  if (follower_) return follower_->next(ram_of(engine_->budget()), now_us);
  std::optional<int64_t> ram_bytes;
  for (; !schedule_.empty() && schedule_.front().token <= index; schedule_.pop_front()) {
    ram_bytes = schedule_.front().ram_bytes;
  }
  return ram_bytes;
}

}  // namespace flashneuron
