// Caches that shrink and grow between tokens: the same bits, and no more rows than there is room for.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "decode/rig.h"
#include "support/bits.h"
#include "support/random.h"
#include "support/rules.h"

namespace flashneuron::testing {
namespace {

const std::vector<int32_t> kPrompt{1, 7, 30, 4, 4, 9, 2, 18, 5, 11, 3};
constexpr int kSteps = 16;
constexpr uint32_t kNeurons = 200;

// As Rig::run, with random shares before every third token or so, and a prefill and a reset between.
std::vector<float> run_resizing(const TinyPackage& files, const RigOptions& options, uint64_t seed) {
  Rig rig(files, options);
  Random random(seed);
  const uint32_t layers = files.options().layers;
  std::vector<float> all;
  std::vector<float> logits(files.options().vocab_size);
  EXPECT_TRUE(rig.prefill(kPrompt).ok());
  for (int token = 0; token <= kSteps; ++token) {
    EXPECT_TRUE(rig.decoder().logits(logits).ok());
    all.insert(all.end(), logits.begin(), logits.end());
    if (token == kSteps / 2) {
      rig.ffn().reset();
    }
    if (random.below(3) == 0) {
      CacheShares shares;
      for (uint32_t layer = 0; layer < layers; ++layer) {
        const uint32_t rows = static_cast<uint32_t>(random.below(3) == 0 ? 0 : random.below(kNeurons + 1));
        shares.capacity_rows.push_back(rows);
        std::vector<uint32_t>& pinned = shares.pinned.emplace_back();
        for (uint32_t neuron = 0; neuron < kNeurons && pinned.size() < rows; ++neuron) {
          if (random.below(5) == 0) pinned.push_back(neuron);
        }
      }
      rig.ffn().resize(shares);
      for (uint32_t layer = 0; layer < layers; ++layer) {
        EXPECT_LE(rig.ffn().cached_rows(layer), shares.capacity_rows[layer]);
      }
    }
    if (token < kSteps) {
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      EXPECT_TRUE(rig.step(static_cast<int32_t>(best)).ok());
    }
  }
  return all;
}

TEST(Resize, ChangesNoBitInAnyResidency) {
  for (const ActivationRule& rule : {kRules[0], kRules[3]}) {
    const TinyPackage files({.layers = 3, .ffn_size = kNeurons, .predictor = TinyPredictor::kRandom, .rule = rule});
    for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kOracle, PredictorKind::kLowRank}) {
      const std::vector<float> expected =
          Rig(files, {.predictor = predictor, .residency = Residency::kNaive}).run(kPrompt, kSteps);
      for (const Residency residency : {Residency::kHybrid, Residency::kCached}) {
        for (const bool gate_first : {false, rule.gated}) {
          for (uint64_t seed = 0; seed < 3; ++seed) {
            RigOptions options{.predictor = predictor, .residency = residency, .capacity_rows = 90, .threads = 2};
            options.pinned = {3, 50, 199};
            if (seed % 2 == 1) options.window = 3;
            options.overlap = seed % 3 != 0;
            options.gate_first = gate_first;
            EXPECT_TRUE(same_bits(run_resizing(files, options, seed), expected)) << "seed " << seed;
          }
        }
      }
    }
  }
}

TEST(Resize, WhoIsPinnedLaterIsNotReadForThatAndStaysOnceItComesBy) {
  const TinyPackage files({.ffn_size = kNeurons});
  Rig rig(files, {.predictor = PredictorKind::kOracle, .window = 1, .capacity_rows = 0});
  CacheShares shares{{kNeurons, kNeurons}, {{}, {}}};
  for (uint32_t neuron = 0; neuron < kNeurons; ++neuron) {
    for (auto& pinned : shares.pinned) pinned.push_back(neuron);
  }
  ASSERT_TRUE(rig.prefill(kPrompt).ok());
  rig.ffn().resize(shares);
  EXPECT_EQ(rig.ffn().cached_rows(0), 0u);
  rig.decoder().take_counters();
  uint32_t before = 0;
  for (int token = 0; token < 4; ++token) {
    ASSERT_TRUE(rig.step(token + 3).ok());
    const Counters counters = rig.decoder().take_counters();
    const uint32_t rows = rig.ffn().cached_rows(0) + rig.ffn().cached_rows(1);
    EXPECT_EQ(rows - before, counters.misses) << "what was missed stays, what was not is not read";
    before = rows;
  }
  rig.decoder().rewind();
  ASSERT_TRUE(rig.prefill(kPrompt).ok());
  for (const uint32_t layer : {0u, 1u}) EXPECT_EQ(rig.ffn().cached_rows(layer), kNeurons) << "a prefill reads them all";
}

TEST(Resize, WithoutAPredictorRowsThatAreGainedFillAsTheyStreamBy) {
  const TinyPackage files({.ffn_size = kNeurons});
  for (const Residency residency : {Residency::kHybrid, Residency::kCached}) {
    Rig rig(files, {.residency = residency, .capacity_rows = 80});
    ASSERT_TRUE(rig.prefill(kPrompt).ok());
    rig.ffn().resize({{30, 120}, {}});
    EXPECT_EQ(rig.ffn().cached_rows(0), 30u);
    EXPECT_EQ(rig.ffn().cached_rows(1), 80u);
    rig.decoder().take_counters();
    ASSERT_TRUE(rig.step(5).ok());
    EXPECT_EQ(rig.decoder().take_counters().hits, 110);
    ASSERT_TRUE(rig.step(6).ok());
    EXPECT_EQ(rig.decoder().take_counters().hits, 150);
  }
}

}  // namespace
}  // namespace flashneuron::testing
