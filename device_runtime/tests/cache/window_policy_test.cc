#include "cache/window_policy.h"

#include <gtest/gtest.h>

#include <utility>

namespace flashneuron {
namespace {

using Neurons = std::vector<uint32_t>;

// A policy and a cache that holds what is inserted into it.
struct Rig {
  explicit Rig(std::optional<uint32_t> window, uint32_t capacity = 10)
      : policy(10, window), cache(std::move(NeuronCache::create(10, capacity, 64)).value()) {}

  void insert(const Neurons& neurons) {
    for (const uint32_t neuron : neurons) {
      cache.insert(neuron);
      policy.admit(neuron);
    }
  }
  // A token that selects `neurons` and inserts those that are absent.
  void select(const Neurons& neurons) {
    policy.touch(neurons);
    for (const uint32_t neuron : neurons) {
      if (!cache.contains(neuron)) insert({neuron});
    }
  }
  Neurons evict(uint32_t room) {
    Neurons gone = policy.evictions(cache, room);
    for (const uint32_t neuron : gone) cache.evict(neuron);
    return gone;
  }

  WindowPolicy policy;
  NeuronCache cache;
};

TEST(WindowPolicy, EvictsWhatLeftTheWindowEvenWhenThereIsRoom) {
  Rig rig(2);
  rig.select({1, 2});
  rig.select({2, 3});
  EXPECT_EQ(rig.evict(0), Neurons{});
  rig.select({4});
  EXPECT_EQ(rig.evict(1), Neurons{1});
  rig.select({4});
  EXPECT_EQ(rig.evict(0), (Neurons{2, 3}));
}

TEST(WindowPolicy, WhatIsHeldStaysUntilItsRelease) {
  Rig rig(2);
  rig.select({1, 2});
  rig.select({3});
  rig.select({4});
  rig.policy.hold(Neurons{2, 4, 6});
  rig.insert({6});
  EXPECT_EQ(rig.evict(0), Neurons{1});
  rig.policy.release();
  EXPECT_EQ(rig.evict(0), (Neurons{6, 2})) << "never selected, then expired";
}

TEST(WindowPolicy, WhatIsHeldGivesNoRoom) {
  Rig rig(std::nullopt, 4);
  rig.select({1, 2});
  rig.select({3});
  rig.select({4});
  rig.policy.hold(Neurons{1, 3});
  EXPECT_EQ(rig.evict(3), Neurons{2});
  rig.policy.release();
  rig.policy.touch(Neurons{1});
  rig.insert({5});
  EXPECT_EQ(rig.evict(2), (Neurons{5, 3})) << "its place is still that of its last use";
}

TEST(WindowPolicy, WindowOfOneKeepsTheCurrentTokenAlone) {
  Rig rig(1);
  rig.select({1, 2});
  rig.select({2});
  EXPECT_EQ(rig.evict(0), Neurons{1});
}

TEST(WindowPolicy, NeuronsThatWereNeverSelectedLeaveTheWindowFirst) {
  Rig rig(3);
  rig.select({5});
  rig.insert({6, 7});
  EXPECT_EQ(rig.evict(0), (Neurons{6, 7}));
}

TEST(WindowPolicy, NeuronsThatWereNeverSelectedMakeRoomFirst) {
  Rig rig(std::nullopt, 5);
  rig.select({5});
  rig.insert({6, 7, 8});
  rig.select({7});
  EXPECT_EQ(rig.evict(2), Neurons{6});
  EXPECT_EQ(rig.evict(4), (Neurons{8, 5}));
}

TEST(WindowPolicy, WithinTheWindowRoomIsMadeFromTheOldest) {
  Rig rig(5, 3);
  for (const uint32_t neuron : {1, 2, 3}) rig.select({neuron});
  EXPECT_EQ(rig.evict(1), Neurons{1});
}

TEST(WindowPolicy, WithoutAWindowOnlyNeededRoomIsMade) {
  Rig rig(std::nullopt, 4);
  rig.select({8, 9});
  for (int token = 0; token < 100; ++token) rig.select({1});
  EXPECT_EQ(rig.evict(1), Neurons{});
  EXPECT_EQ(rig.evict(2), Neurons{8});
  EXPECT_EQ(rig.evict(3), Neurons{9});
}

TEST(WindowPolicy, ImpossibleRoomEvictsAllThatMayGo) {
  Rig rig(std::nullopt, 3);
  rig.select({3});
  rig.select({1, 2});
  EXPECT_EQ(rig.evict(7), Neurons{3});
  EXPECT_EQ(rig.evict(7), Neurons{});
}

TEST(WindowPolicy, BeforeAnyTokenEverythingMayGo) {
  Rig rig(std::nullopt, 2);
  rig.insert({4, 5});
  EXPECT_EQ(rig.evict(1), Neurons{4});
}

TEST(WindowPolicy, ASelectionOfNothingStillAges) {
  Rig rig(1);
  rig.select({1});
  rig.select({});
  EXPECT_EQ(rig.evict(0), Neurons{1});
  EXPECT_EQ(rig.policy.union_size(), 0u);
}

TEST(WindowPolicy, ANeuronWithoutRoomIsNotAskedToLeave) {
  Rig rig(std::nullopt, 1);
  rig.policy.touch(Neurons{1, 2});
  rig.insert({2});
  rig.policy.touch(Neurons{3});
  EXPECT_EQ(rig.evict(1), Neurons{2});
  rig.insert({1});
  EXPECT_EQ(rig.evict(1), Neurons{1}) << "admitted without being selected again";
}

TEST(WindowPolicy, PinnedNeuronsAreCountedAndNeverLeave) {
  Rig rig(1, 3);
  rig.policy.pin(4);
  rig.insert({4});
  EXPECT_EQ(rig.evict(3), Neurons{});
  rig.select({4, 5});
  EXPECT_EQ(rig.policy.union_size(), 2u);
  rig.select({6});
  EXPECT_EQ(rig.evict(3), Neurons{5});
  if (rig.cache.contains(6)) rig.cache.evict(6);
  rig.policy.reset();
  EXPECT_EQ(rig.policy.union_size(), 0u);
  rig.select({6});
  rig.select({});
  EXPECT_EQ(rig.evict(3), Neurons{6});
  EXPECT_TRUE(rig.cache.contains(4));
}

TEST(WindowPolicy, WhoIsNoLongerPinnedGoesWhereItsLastUsePutsIt) {
  Rig rig(std::nullopt, 6);
  for (const uint32_t neuron : {7, 2, 9}) {
    rig.policy.pin(neuron);
    rig.insert({neuron});
  }
  rig.select({3});
  rig.select({2, 5});
  rig.select({1, 7});
  rig.policy.unpin(rig.cache, Neurons{2, 7, 9});
  rig.select({1});
  EXPECT_EQ(rig.evict(5), (Neurons{9, 3, 2, 5, 7})) << "the one that was never selected first";
}

TEST(WindowPolicy, WhoIsPinnedWhileCachedStaysAndWhoIsAbsentStaysOnceItComesBy) {
  Rig rig(2, 3);
  rig.select({1, 2});
  for (const uint32_t neuron : {1, 8}) rig.policy.pin(neuron);
  EXPECT_TRUE(rig.policy.is_pinned(8));
  EXPECT_EQ(rig.policy.union_size(), 2u);
  rig.policy.touch(Neurons{8});
  EXPECT_EQ(rig.evict(2), Neurons{2});
  rig.insert({8});
  for (int token = 0; token < 3; ++token) rig.select({5});
  EXPECT_EQ(rig.evict(3), Neurons{});
  for (const uint32_t neuron : {1, 5, 8}) EXPECT_TRUE(rig.cache.contains(neuron));
}

TEST(WindowPolicy, BetweenTokensTheLastOnesNeuronsMayGoToo) {
  Rig rig(std::nullopt, 6);
  rig.policy.pin(4);
  rig.insert({4, 6});
  rig.select({2, 5});
  rig.select({1, 3});
  EXPECT_EQ(rig.policy.surplus(rig.cache, 6), Neurons{});
  EXPECT_EQ(rig.policy.surplus(rig.cache, 2), (Neurons{6, 2, 5, 1}));
  for (const uint32_t neuron : {6, 2, 5, 1}) rig.cache.evict(neuron);
  EXPECT_EQ(rig.policy.surplus(rig.cache, 0), Neurons{3}) << "never a pinned one";
}

TEST(WindowPolicy, UnionCountsTheWindow) {
  Rig windowed(2);
  Rig unlimited(std::nullopt);
  for (const Neurons& selected : {Neurons{1, 2}, Neurons{2, 3}, Neurons{3, 4, 5}}) {
    windowed.select(selected);
    unlimited.select(selected);
  }
  EXPECT_EQ(windowed.policy.union_size(), 4u);
  EXPECT_EQ(unlimited.policy.union_size(), 5u);
  unlimited.policy.reset();
  EXPECT_EQ(unlimited.policy.union_size(), 0u);
}

TEST(WindowPolicy, ResetForgetsTheTokens) {
  Rig rig(2);
  rig.select({1});
  rig.policy.reset();
  rig.cache.evict(1);
  rig.insert({1});
  rig.select({2});
  EXPECT_EQ(rig.evict(0), Neurons{1});
}

}  // namespace
}  // namespace flashneuron
