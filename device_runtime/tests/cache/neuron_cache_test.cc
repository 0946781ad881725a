#include "cache/neuron_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "telemetry/process_memory.h"

namespace flashneuron {
namespace {

constexpr uint32_t kRowBytes = 128;

uint32_t below(std::mt19937& random, uint32_t count) { return static_cast<uint32_t>(random() % count); }

NeuronCache make_cache(uint32_t neurons, uint32_t capacity) {
  return std::move(NeuronCache::create(neurons, capacity, kRowBytes)).value();
}

void insert(NeuronCache& cache, uint32_t neuron) {
  std::fill_n(cache.insert(neuron), kRowBytes, static_cast<std::byte>(neuron * 7 + 1));
}

testing::AssertionResult holds(const NeuronCache& cache, uint32_t neuron) {
  const std::byte* row = cache.find(neuron);
  if (row == nullptr) return testing::AssertionFailure() << neuron << " is absent";
  const bool same = std::all_of(row, row + kRowBytes,
                                [&](std::byte value) { return value == static_cast<std::byte>(neuron * 7 + 1); });
  return same ? testing::AssertionSuccess() : testing::AssertionFailure() << "the row of " << neuron << " is wrong";
}

TEST(NeuronCache, AnEvictedRowIsFilledNextAndNoOtherMoves) {
  NeuronCache cache = make_cache(10, 3);
  for (const uint32_t neuron : {4, 9, 2}) insert(cache, neuron);
  const std::byte* first_row = cache.find(4);
  const std::byte* last_row = cache.find(2);
  cache.evict(4);
  EXPECT_EQ(cache.find(4), nullptr);
  EXPECT_FALSE(cache.contains(4));
  EXPECT_EQ(cache.find(2), last_row);
  EXPECT_EQ(cache.size(), 2u);
  insert(cache, 7);
  EXPECT_EQ(cache.find(7), first_row);
  for (const uint32_t neuron : {9, 2, 7}) EXPECT_TRUE(holds(cache, neuron));
}

TEST(NeuronCache, ShrinkingMovesRowsFromBeyondTheEnd) {
  NeuronCache cache = make_cache(10, 4);
  for (const uint32_t neuron : {4, 9, 2, 5}) insert(cache, neuron);
  const std::byte* first_row = cache.find(4);
  for (const uint32_t neuron : {9, 2}) cache.evict(neuron);
  cache.set_capacity(2);
  EXPECT_EQ(cache.capacity(), 2u);
  EXPECT_EQ(cache.find(4), first_row) << "it lies below the end";
  for (const uint32_t neuron : {4, 5}) EXPECT_TRUE(holds(cache, neuron));
  cache.set_capacity(10);
  for (const uint32_t neuron : {0, 1, 2, 3, 6, 7, 8, 9}) insert(cache, neuron);
  for (uint32_t neuron = 0; neuron < 10; ++neuron) EXPECT_TRUE(holds(cache, neuron));
}

TEST(NeuronCache, RowsAreAlignedForVectorLoads) {
  NeuronCache cache = make_cache(4, 4);
  for (uint32_t neuron = 0; neuron < 4; ++neuron) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(cache.insert(neuron)) % 64, 0u);
  }
}

TEST(NeuronCache, ShrinksToNothingAndGrowsAgain) {
  NeuronCache cache = make_cache(5, 2);
  insert(cache, 4);
  cache.evict(4);
  cache.set_capacity(0);
  for (uint32_t neuron = 0; neuron < 5; ++neuron) EXPECT_EQ(cache.find(neuron), nullptr);
  cache.set_capacity(1);
  insert(cache, 4);
  EXPECT_TRUE(holds(cache, 4));
}

// In large pages and in small ones.
TEST(NeuronCache, ShrinkingGivesMemoryBackAndGrowingTakesNone) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "the thread sanitizer keeps several times of what the cache takes";
#endif
  for (const uint32_t rows : {12'000u, 60'000u}) {
    constexpr uint32_t kRow = 1024;
    const auto anonymous = [] { return read_process_memory().rss_anon_bytes; };
    const int64_t all = int64_t{rows} * kRow;
    const int64_t slack = int64_t{3} << 20;  // qemu keeps what it translated in the same process
    const int64_t before = anonymous();
    NeuronCache cache = std::move(NeuronCache::create(rows, rows / 2, kRow)).value();
    EXPECT_LT(anonymous() - before, all / 2 + slack) << "addresses for all neurons take no memory";
    EXPECT_GT(anonymous() - before, all / 2 - slack) << "the capacity is there from the start";
    for (uint32_t neuron = 0; neuron < rows / 2; ++neuron) {
      std::fill_n(cache.insert(neuron), kRow, static_cast<std::byte>(neuron));
    }
    for (uint32_t neuron = 0; neuron < rows / 2; ++neuron) {
      if (neuron % 4 != 3) cache.evict(neuron);
    }
    cache.set_capacity(rows / 8);
    EXPECT_LT(anonymous() - before, all / 8 + slack);
    for (uint32_t neuron = 3; neuron < rows / 2; neuron += 4) {
      const std::byte* row = cache.find(neuron);
      ASSERT_NE(row, nullptr);
      ASSERT_TRUE(std::all_of(row, row + kRow, [&](std::byte b) { return b == static_cast<std::byte>(neuron); }));
    }
    cache.set_capacity(rows);
    EXPECT_LT(anonymous() - before, all / 8 + slack) << "rows that are gained come as they are filled";
  }
}

TEST(NeuronCache, WithoutCapacityEveryNeuronIsAbsent) {
  const NeuronCache cache = make_cache(5, 0);
  for (uint32_t neuron = 0; neuron < 5; ++neuron) EXPECT_EQ(cache.find(neuron), nullptr);
}

TEST(NeuronCache, RandomInsertsEvictionsAndCapacitiesKeepEveryRow) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    NeuronCache cache = make_cache(100, 1 + below(random, 60));
    std::set<uint32_t> model;
    for (int step = 0; step < 500; ++step) {
      const uint32_t neuron = below(random, 100);
      if (below(random, 10) == 0) {
        const uint32_t fewest = cache.size();
        cache.set_capacity(fewest + below(random, 101 - fewest));
      } else if (model.contains(neuron)) {
        cache.evict(neuron);
        model.erase(neuron);
      } else if (cache.size() < cache.capacity()) {
        insert(cache, neuron);
        model.insert(neuron);
      }
      for (uint32_t each = 0; each < 100; ++each) ASSERT_EQ(cache.contains(each), model.contains(each)) << seed;
      ASSERT_EQ(cache.size(), model.size());
      for (const uint32_t cached : model) ASSERT_TRUE(holds(cache, cached)) << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace flashneuron
