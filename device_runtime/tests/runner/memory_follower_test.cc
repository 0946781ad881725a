#include "runner/memory_follower.h"

#include <gtest/gtest.h>

namespace flashneuron {
namespace {

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kSecond = 1'000'000;

// 160 MiB stay free, so the slack is 20 MiB; budgets from 50 to 1000 MiB.
class Following : public ::testing::Test {
 protected:
  std::optional<int64_t> next(int64_t ram_mib, int64_t now_us) {
    const std::optional<int64_t> found = follower_.next(ram_mib * kMiB, now_us);
    if (!found) return found;
    return *found / kMiB;
  }
  void see(int64_t available_mib, int64_t rss_mib) { facts_ = MemoryFacts{available_mib * kMiB, rss_mib * kMiB}; }

  std::optional<MemoryFacts> facts_;
  int looks_ = 0;
  MemoryFollower follower_{{160 * kMiB, 50 * kMiB, 1000 * kMiB}, [this] {
                             ++looks_;
                             return facts_;
                           }};
};

TEST_F(Following, ShrinksAtOnceByWhatIsMissingAndHalfTheSlack) {
  see(100, 400);  // 60 too few
  EXPECT_EQ(next(400, 0), 330);
  see(170, 330);
  EXPECT_EQ(next(330, kSecond), std::nullopt) << "there it stays";
}

TEST_F(Following, LooksTenTimesASecondAtMost) {
  see(160, 400);
  for (int64_t now = 0; now < kSecond; now += 1000) EXPECT_EQ(next(400, now), std::nullopt);
  EXPECT_EQ(looks_, 10);
}

TEST_F(Following, GrowsOnlyAfterASecondOfRoom) {
  see(200, 400);
  EXPECT_EQ(next(400, 0), std::nullopt);
  EXPECT_EQ(next(400, kSecond - 1), std::nullopt);
  see(175, 400);
  EXPECT_EQ(next(400, kSecond + 200'000), std::nullopt) << "within the slack the wait begins anew";
  see(200, 400);
  EXPECT_EQ(next(400, 2 * kSecond), std::nullopt);
  EXPECT_EQ(next(400, 3 * kSecond), 430);
  EXPECT_EQ(next(430, 5 * kSecond), std::nullopt) << "what it may still fill is not given out again";
}

TEST_F(Following, SmallChangesMoveNothing) {
  int64_t ram = 400;
  see(160, 400);
  for (int64_t step = 0; step < 100; ++step) {
    see(160 + (step % 2 == 0 ? 0 : 19), ram);
    EXPECT_EQ(next(ram, step * kSecond), std::nullopt) << step;
  }
}

TEST_F(Following, StaysWithinItsBounds) {
  see(0, 400);
  EXPECT_EQ(next(400, 0), 230);
  see(0, 60);
  EXPECT_EQ(next(60, kSecond), 50);
  EXPECT_EQ(next(50, 2 * kSecond), std::nullopt);
  see(5000, 50);
  EXPECT_EQ(next(50, 3 * kSecond), std::nullopt);
  EXPECT_EQ(next(50, 4 * kSecond), 1000);
  EXPECT_EQ(next(1000, 5 * kSecond), std::nullopt);
  EXPECT_EQ(next(1000, 7 * kSecond), std::nullopt);
}

TEST_F(Following, WithoutFactsNothingChanges) { EXPECT_EQ(next(400, 0), std::nullopt); }

}  // namespace
}  // namespace flashneuron
