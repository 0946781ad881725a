// A budget that follows the memory that the system has left.
//
// What the process may have is what it has, and what is available beyond the share that stays free for others. A budget
// above that shrinks at once; one that is below it by more than `slack` for a second grows. Either way it comes to lie
// half a slack below what there is, so that small changes move nothing, in neither direction.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

namespace flashneuron {

struct MemoryFacts {
  int64_t available_bytes = 0;
  int64_t rss_bytes = 0;  // of this process
};

struct FollowRules {
  int64_t keep_free_bytes = 0;
  int64_t least_bytes = 0;  // the budget is never below
  int64_t most_bytes = 0;   // nor above
};

class MemoryFollower {
 public:
  static constexpr int64_t kLookEveryUs = 100'000;
  static constexpr int64_t kGrowAfterUs = 1'000'000;

  // `read` answers nothing where the system does not say.
  MemoryFollower(const FollowRules& rules, std::function<std::optional<MemoryFacts>()> read);

  // The budget to have instead of `ram_bytes`, if it should change. Reads at most once in kLookEveryUs.
  std::optional<int64_t> next(int64_t ram_bytes, int64_t now_us);

 private:
  FollowRules rules_;
  std::function<std::optional<MemoryFacts>()> read_;
  int64_t slack_bytes_;
  std::optional<int64_t> looked_us_;
  std::optional<int64_t> roomy_since_us_;
};

}  // namespace flashneuron
