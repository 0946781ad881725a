// Which budgets a generation gets on its way: those of a schedule (ram_at), or as memory allows (follow_memory).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "flashneuron/engine.h"
#include "flashneuron/status.h"
#include "runner/arguments.h"
#include "runner/memory_follower.h"

namespace flashneuron {

class BudgetChanges {
 public:
  // Errors: kBudgetTooSmall (one of the schedule's budgets; `refused` is its split), kUnsupported (the system does not
  // say what memory it has).
  static Result<BudgetChanges> create(const BudgetKeys& keys, const Engine& engine, Budget& refused);

  // Whether the budget may change at all.
  bool any() const { return follower_ || !schedule_.empty(); }
  // The budget that token `index` is to be computed with, if it is another than that of the token before.
  std::optional<int64_t> before(int64_t index, int64_t now_us);

 private:
  explicit BudgetChanges(const Engine& engine) : engine_(&engine) {}

  const Engine* engine_;
  std::deque<RamAt> schedule_;
  std::optional<MemoryFollower> follower_;
};

}  // namespace flashneuron
