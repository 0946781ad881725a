#include "engine/memory_budget.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace flashneuron {
namespace {

const FixedRoles kFixed{.process = 10, .attention = 20, .head = 5, .predictor = 3, .kv = 2, .staging = 1};

TEST(MemoryBudget, FixedRolesComeFirstAndNeuronsTakeTheRest) {
  const Budget budget = split_budget(kFixed, {.neurons_wanted = 1000, .neurons_all = 1000, .embedding = 70}, 141);
  EXPECT_EQ(budget.minimum_bytes, 41);
  EXPECT_EQ(budget.all_resident_bytes, 1111);
  EXPECT_EQ(role_bytes(budget, "neurons"), 100);
  EXPECT_TRUE(check_budget(budget).ok());
}

TEST(MemoryBudget, WithoutALimitNeuronsGetWhatTheResidencyWants) {
  const auto neurons = [](int64_t wanted, std::optional<int64_t> ram) {
    return role_bytes(split_budget(kFixed, {.neurons_wanted = wanted, .neurons_all = 1000}, ram), "neurons");
  };
  EXPECT_EQ(neurons(1000, std::nullopt), 1000);
  EXPECT_EQ(neurons(300, std::nullopt), 300);
  EXPECT_EQ(neurons(300, 5000), 300);
}

TEST(MemoryBudget, TheEmbeddingIsResidentOnceEverythingElseIs) {
  const auto embedding = [](std::optional<int64_t> ram, bool wanted) {
    const OptionalRoles rest{.neurons_wanted = 1000, .neurons_all = 1000, .embedding = 70, .embedding_wanted = wanted};
    return role_bytes(split_budget(kFixed, rest, ram), "embedding");
  };
  EXPECT_EQ(embedding(std::nullopt, true), 70);
  EXPECT_EQ(embedding(1111, true), 70);
  EXPECT_EQ(embedding(1110, true), 0);
  EXPECT_EQ(embedding(std::nullopt, false), 0);
}

TEST(MemoryBudget, BelowTheMinimumIsRefusedWithTheMinimum) {
  FixedRoles fixed = kFixed;
  fixed.attention = 30 << 20;
  const Status status = check_budget(split_budget(fixed, {.neurons_wanted = 1000, .neurons_all = 1000}, 10 << 20));
  EXPECT_EQ(status.code(), StatusCode::kBudgetTooSmall);
  EXPECT_NE(status.message().find("10.0 MiB"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("30.1 MiB"), std::string::npos) << status.message();
  EXPECT_TRUE(check_budget(split_budget(kFixed, {.neurons_all = 1000}, 41)).ok()) << "the minimum itself is enough";
}

TEST(ShareRows, FollowsTheWeightsAndCapsAtALayer) {
  const std::vector<double> weights{0.3, 0.1, 0.1};
  EXPECT_EQ(share_rows(50, 100, weights), (std::vector<uint32_t>{30, 10, 10}));
  EXPECT_EQ(share_rows(200, 100, weights), (std::vector<uint32_t>{100, 50, 50}));
  EXPECT_EQ(share_rows(300, 100, weights), (std::vector<uint32_t>{100, 100, 100}));
  EXPECT_EQ(share_rows(0, 100, weights), (std::vector<uint32_t>{0, 0, 0}));
}

TEST(ShareRows, MoreRowsNeverMeanFewerInALayer) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> weights(1 + random() % 9);
    for (double& weight : weights) weight = random() % 5 == 0 ? 0.0 : static_cast<double>(random() % 1000) / 1000;
    weights[0] += 0.01;
    std::vector<uint32_t> before(weights.size());
    for (uint64_t total = 0; total <= weights.size() * 64; total += 1 + random() % 20) {
      const std::vector<uint32_t> rows = share_rows(total, 64, weights);
      EXPECT_LE(std::accumulate(rows.begin(), rows.end(), uint64_t{0}), total);
      for (size_t layer = 0; layer < rows.size(); ++layer) {
        EXPECT_LE(before[layer], rows[layer]);
        EXPECT_LE(rows[layer], 64u);
      }
      before = rows;
    }
    EXPECT_EQ(share_rows(weights.size() * 64, 64, weights), std::vector<uint32_t>(weights.size(), 64));
  }
}

}  // namespace
}  // namespace flashneuron
