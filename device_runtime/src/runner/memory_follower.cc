#include "runner/memory_follower.h"

#include <algorithm>
#include <utility>

namespace flashneuron {

constexpr int64_t kLeastSlack = int64_t{8} << 20;

MemoryFollower::MemoryFollower(const FollowRules& rules, std::function<std::optional<MemoryFacts>()> read)
    : rules_(rules), read_(std::move(read)), slack_bytes_(std::max(rules.keep_free_bytes / 8, kLeastSlack)) {}

std::optional<int64_t> MemoryFollower::next(int64_t ram_bytes, int64_t now_us) {
  if (looked_us_ && now_us - *looked_us_ < kLookEveryUs) return std::nullopt;
  looked_us_ = now_us;
  const std::optional<MemoryFacts> facts = read_();
  if (!facts) return std::nullopt;
  const int64_t may_have = facts->rss_bytes + facts->available_bytes - rules_.keep_free_bytes;
  const int64_t wanted = std::clamp(may_have - slack_bytes_ / 2, rules_.least_bytes, rules_.most_bytes);
  if (may_have <= ram_bytes + slack_bytes_) {
    roomy_since_us_.reset();
    if (may_have >= ram_bytes || wanted >= ram_bytes) return std::nullopt;
    return wanted;
  }
  if (!roomy_since_us_) roomy_since_us_ = now_us;
  if (now_us - *roomy_since_us_ < kGrowAfterUs || wanted <= ram_bytes) return std::nullopt;
  roomy_since_us_.reset();
  return wanted;
}

}  // namespace flashneuron
