#include "engine/hot_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace flashneuron {
namespace {

using Frequencies = std::vector<std::vector<float>>;

// Most neurons nearly never, some often; deeper layers more so. Counts of 2000 tokens.
Frequencies random_frequencies(uint32_t seed, uint32_t layers = 4, uint32_t neurons = 500) {
  std::mt19937 random(seed);
  Frequencies frequency(layers);
  for (uint32_t layer = 0; layer < layers; ++layer) {
    for (uint32_t n = 0; n < neurons; ++n) {
      const double unit = static_cast<double>(random()) / static_cast<double>(std::mt19937::max());
      frequency[layer].push_back(static_cast<float>(static_cast<int>(2000 * unit * unit * unit * unit)) / 2000 /
                                 static_cast<float>(1 + layer));
    }
  }
  return frequency;
}

uint64_t sum(const std::vector<uint32_t>& rows) { return std::accumulate(rows.begin(), rows.end(), uint64_t{0}); }

uint64_t pinned_rows(const NeuronShares& shares) {
  uint64_t rows = 0;
  for (const auto& layer : shares.pinned) rows += layer.size();
  return rows;
}

TEST(HotSet, RowsAreUsedUpAndNeverExceeded) {
  for (uint32_t seed = 0; seed < 4; ++seed) {
    const Frequencies frequency = random_frequencies(seed);
    for (const uint64_t total : {0u, 1u, 40u, 400u, 1000u, 1900u, 2000u, 5000u}) {
      for (const std::optional<double> hot : {std::optional<double>(), std::optional<double>(0.0),
                                              std::optional<double>(0.5), std::optional<double>(1.0)}) {
        const NeuronShares shares = share_by_frequency(frequency, total, hot);
        const uint64_t most = std::min<uint64_t>(total, 2000);
        ASSERT_LE(sum(shares.capacity_rows), most);
        ASSERT_GE(sum(shares.capacity_rows) + frequency.size(), most) << "rounding loses less than a row a layer";
        if (total >= 2000) {
          ASSERT_EQ(sum(shares.capacity_rows), 2000u) << "all resident";
        }
        for (size_t layer = 0; layer < frequency.size(); ++layer) {
          ASSERT_LE(shares.pinned[layer].size(), shares.capacity_rows[layer]);
          ASSERT_LE(shares.capacity_rows[layer], frequency[layer].size());
          ASSERT_TRUE(std::is_sorted(shares.pinned[layer].begin(), shares.pinned[layer].end()));
        }
      }
    }
  }
}

TEST(HotSet, TheMostFrequentOfAllLayersArePinned) {
  const Frequencies frequency = random_frequencies(3);
  const NeuronShares shares = share_by_frequency(frequency, 800, 0.25);
  EXPECT_EQ(pinned_rows(shares), 200u);
  float least_pinned = 1;
  float most_other = 0;
  for (size_t layer = 0; layer < frequency.size(); ++layer) {
    const auto& pinned = shares.pinned[layer];
    for (uint32_t n = 0; n < frequency[layer].size(); ++n) {
      const bool is_pinned = std::binary_search(pinned.begin(), pinned.end(), n);
      if (is_pinned) least_pinned = std::min(least_pinned, frequency[layer][n]);
      if (!is_pinned) most_other = std::max(most_other, frequency[layer][n]);
    }
  }
  EXPECT_GE(least_pinned, most_other);
  EXPECT_GT(shares.pinned[0].size(), shares.pinned[3].size()) << "layers compete";
}

TEST(HotSet, MoreRowsPinMoreAndNeverTakeFromALayer) {
  const Frequencies frequency = random_frequencies(5);
  NeuronShares before = share_by_frequency(frequency, 0, std::nullopt);
  for (uint64_t total = 50; total <= 2000; total += 50) {
    const NeuronShares shares = share_by_frequency(frequency, total, std::nullopt);
    for (size_t layer = 0; layer < frequency.size(); ++layer) {
      EXPECT_GE(shares.capacity_rows[layer] + 1, before.capacity_rows[layer]) << total;
      EXPECT_GE(shares.pinned[layer].size(), before.pinned[layer].size()) << total;
    }
    before = shares;
  }
}

TEST(HotSet, TheChosenShareLeavesAWindowUntilThereIsRoomForAll) {
  const Frequencies frequency = random_frequencies(7);
  for (const uint64_t total : {200u, 400u, 800u, 1200u}) {
    const NeuronShares shares = share_by_frequency(frequency, total, std::nullopt);
    EXPECT_GT(pinned_rows(shares), 0u) << total;
    EXPECT_LT(pinned_rows(shares), sum(shares.capacity_rows)) << total;
  }
}

TEST(HotSet, NeuronsThatAreAlwaysSelectedComeFirst) {
  const Frequencies frequency = {{1, 0, 0, 0}, {1, 1, 0, 0}};
  const NeuronShares shares = share_by_frequency(frequency, 3, std::nullopt);
  EXPECT_EQ(shares.pinned, (std::vector<std::vector<uint32_t>>{{0}, {0, 1}}));
}

}  // namespace
}  // namespace flashneuron
