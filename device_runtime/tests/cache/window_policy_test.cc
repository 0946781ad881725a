#include "cache/window_policy.h"

#include <gtest/gtest.h>

namespace flashneuron {
namespace {

using Neurons = std::vector<uint32_t>;

TEST(WindowPolicy, EvictsWhatLeftTheWindowEvenWhenThereIsRoom) {
  WindowPolicy policy(10, 2);
  policy.touch(Neurons{1, 2});
  policy.touch(Neurons{2, 3});
  EXPECT_EQ(policy.evictions(Neurons{1, 2, 3}, 10, 0), Neurons{});
  policy.touch(Neurons{4});
  EXPECT_EQ(policy.evictions(Neurons{3, 2, 1}, 10, 1), Neurons{1});
  policy.touch(Neurons{4});
  EXPECT_EQ(policy.evictions(Neurons{4, 3, 2}, 10, 0), (Neurons{2, 3}));
}

TEST(WindowPolicy, WindowOfOneKeepsTheCurrentTokenAlone) {
  WindowPolicy policy(10, 1);
  policy.touch(Neurons{1, 2});
  policy.touch(Neurons{2});
  EXPECT_EQ(policy.evictions(Neurons{1, 2}, 10, 0), Neurons{1});
}

TEST(WindowPolicy, NeuronsThatWereNeverSelectedLeaveTheWindowFirst) {
  WindowPolicy policy(10, 3);
  policy.touch(Neurons{5});
  EXPECT_EQ(policy.evictions(Neurons{7, 5, 6}, 10, 0), (Neurons{6, 7}));
}

TEST(WindowPolicy, WithinTheWindowRoomIsMadeFromTheOldest) {
  WindowPolicy policy(10, 5);
  policy.touch(Neurons{1});
  policy.touch(Neurons{2});
  policy.touch(Neurons{3});
  EXPECT_EQ(policy.evictions(Neurons{3, 1, 2}, 3, 1), Neurons{1});
}

TEST(WindowPolicy, WithoutAWindowOnlyNeededRoomIsMade) {
  WindowPolicy policy(10, std::nullopt);
  policy.touch(Neurons{8, 9});
  for (int token = 0; token < 100; ++token) policy.touch(Neurons{1});
  EXPECT_EQ(policy.evictions(Neurons{9, 8, 1}, 4, 1), Neurons{});
  EXPECT_EQ(policy.evictions(Neurons{9, 8, 1}, 4, 2), Neurons{8});
  EXPECT_EQ(policy.evictions(Neurons{9, 8, 1}, 3, 2), (Neurons{8, 9}));
}

TEST(WindowPolicy, ImpossibleRoomEvictsAllThatMayGo) {
  WindowPolicy policy(10, std::nullopt);
  policy.touch(Neurons{3});
  policy.touch(Neurons{1, 2});
  EXPECT_EQ(policy.evictions(Neurons{1, 2, 3}, 3, 3), Neurons{3});
  EXPECT_EQ(policy.evictions(Neurons{1, 2, 3}, 0, 7), Neurons{3});
}

TEST(WindowPolicy, BeforeAnyTokenEverythingMayGo) {
  const WindowPolicy policy(10, std::nullopt);
  EXPECT_EQ(policy.evictions(Neurons{5, 4}, 2, 1), Neurons{4});
}

TEST(WindowPolicy, ASelectionOfNothingStillAges) {
  WindowPolicy policy(10, 1);
  policy.touch(Neurons{1});
  policy.touch(Neurons{});
  EXPECT_EQ(policy.evictions(Neurons{1}, 10, 0), Neurons{1});
  EXPECT_EQ(policy.union_size(), 0u);
}

TEST(WindowPolicy, UnionCountsTheWindow) {
  WindowPolicy windowed(10, 2);
  WindowPolicy unlimited(10, std::nullopt);
  for (const Neurons& selected : {Neurons{1, 2}, Neurons{2, 3}, Neurons{3, 4, 5}}) {
    windowed.touch(selected);
    unlimited.touch(selected);
  }
  EXPECT_EQ(windowed.union_size(), 4u);
  EXPECT_EQ(unlimited.union_size(), 5u);
  unlimited.reset();
  EXPECT_EQ(unlimited.union_size(), 0u);
}

TEST(WindowPolicy, ResetForgetsTheTokens) {
  WindowPolicy policy(10, 2);
  policy.touch(Neurons{1});
  policy.reset();
  policy.touch(Neurons{2});
  EXPECT_EQ(policy.evictions(Neurons{1, 2}, 10, 0), Neurons{1});
}

}  // namespace
}  // namespace flashneuron
