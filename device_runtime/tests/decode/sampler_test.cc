#include "decode/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "support/random.h"

namespace flashneuron {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Logits whose softmax at temperature 1 has these shares.
std::vector<float> logits_of(const std::vector<double>& shares) {
  std::vector<float> logits;
  for (const double share : shares) logits.push_back(static_cast<float>(std::log(share)));
  return logits;
}

std::vector<int> counts_of(const Sampling& sampling, const std::vector<float>& logits, int draws) {
  Sampler sampler(sampling);
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i) ++counts[static_cast<size_t>(sampler.sample(logits))];
  return counts;
}

// Pearson's statistic against the expected shares; a share of 0 must never be drawn.
double chi_squared(const std::vector<int>& counts, const std::vector<double>& shares, int draws) {
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (shares[i] == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i;
      continue;
    }
    const double expected = shares[i] * draws;
    sum += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return sum;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdOfEquals) {
  Sampler sampler(Sampling{});
  EXPECT_EQ(sampler.sample(std::vector<float>{0.5f, 2.0f, -1.0f, 2.0f}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-3.0f}), 0);
  EXPECT_EQ(sampler.sample(std::vector<float>{-kInfinity, -5.0f, -kInfinity}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{kNan, -5.0f, kNan, -4.0f}), 3);
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  const std::vector<double> shares = {0.05, 0.4, 0.25, 0.3};
  const int draws = 100000;
  const auto counts = counts_of({.temperature = 1.0f, .seed = 11}, logits_of(shares), draws);
  EXPECT_LT(chi_squared(counts, shares, draws), 16.27);  // 3 degrees of freedom, p = 0.001
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  const std::vector<double> shares = {0.2, 0.8};
  const int draws = 100000;
  for (const float temperature : {0.5f, 2.0f}) {
    std::vector<double> expected;
    for (const double share : shares) expected.push_back(std::pow(share, 1.0 / temperature));
    const double sum = expected[0] + expected[1];
    for (double& share : expected) share /= sum;
    const auto counts = counts_of({.temperature = temperature, .seed = 12}, logits_of(shares), draws);
    EXPECT_LT(chi_squared(counts, expected, draws), 10.83) << temperature;  // 1 degree of freedom, p = 0.001
  }
}

TEST(Sampler, TopKKeepsTheMostLikely) {
  const int draws = 20000;
  const auto counts =
      counts_of({.temperature = 1.0f, .top_k = 2, .seed = 13}, logits_of({0.1, 0.5, 0.25, 0.15}), draws);
  EXPECT_LT(chi_squared(counts, {0, 2.0 / 3, 1.0 / 3, 0}, draws), 10.83);
}

TEST(Sampler, TopPKeepsTheTokenThatCrossesP) {
  const int draws = 20000;
  const auto logits = logits_of({0.1, 0.5, 0.25, 0.15});
  const auto crossing = counts_of({.temperature = 1.0f, .top_p = 0.6f, .seed = 14}, logits, draws);
  EXPECT_LT(chi_squared(crossing, {0, 2.0 / 3, 1.0 / 3, 0}, draws), 10.83);
  const auto one = counts_of({.temperature = 1.0f, .top_p = 0.001f, .seed = 14}, logits, 1000);
  EXPECT_EQ(one[1], 1000);
}

TEST(Sampler, TopPIsAShareOfWhatTopKKept) {
  // Of the kept 0.5, 0.25 and 0.15 the first is 0.556: enough for 0.55, though it is only 0.5 of all.
  const auto counts =
      counts_of({.temperature = 1.0f, .top_k = 3, .top_p = 0.55f, .seed = 15}, logits_of({0.1, 0.5, 0.25, 0.15}), 1000);
  EXPECT_EQ(counts[1], 1000);
}

TEST(Sampler, ImpossibleTokensAreNeverDrawn) {
  const std::vector<float> logits = {-kInfinity, 1.0f, kNan, 1.0f, -kInfinity};
  const auto counts = counts_of({.temperature = 1.0f, .top_k = 4, .seed = 16}, logits, 2000);
  EXPECT_EQ(counts[1] + counts[3], 2000);
  EXPECT_GT(counts[1], 800);
  EXPECT_GT(counts[3], 800);
}

TEST(Sampler, TheSameSeedDrawsTheSameAndAnotherSeedDoesNot) {
  testing::Random random(1);
  std::vector<std::vector<float>> steps;
  for (int i = 0; i < 50; ++i) steps.push_back(random.uniforms(1000, -1.0f, 1.0f));
  const auto ids = [&](uint64_t seed) {
    Sampler sampler({.temperature = 1.0f, .seed = seed});
    std::vector<int32_t> result;
    for (const auto& logits : steps) result.push_back(sampler.sample(logits));
    return result;
  };
  EXPECT_EQ(ids(1), ids(1));
  EXPECT_NE(ids(1), ids(2));
}

TEST(Sampler, DrawsAreTheDocumentedOnes) {
  // mt19937_64 seeded with 5489 gives 14514284786278117030 first (the standard's reference sequence): 0.7868… of 1.
  // From the most likely down the cumulative shares are 0.4, 0.7, 0.9, 1: the third, id 3.
  Sampler sampler({.temperature = 1.0f, .seed = 5489});
  EXPECT_EQ(sampler.sample(logits_of({0.1, 0.4, 0.3, 0.2})), 3);
}

}  // namespace
}  // namespace flashneuron
