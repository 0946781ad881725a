// Several tokens in one pass: each gets the bits that it has alone, and only those that count stay in the window.
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "decode/rig.h"
#include "support/bits.h"
#include "support/rules.h"

namespace flashneuron::testing {
namespace {

using Ids = std::vector<int32_t>;
const Ids kPrompt{1, 7, 30, 4, 4, 9, 2, 18, 5};
const Ids kText{3, 12, 8, 25, 17, 6, 11};  // what follows it
const Ids kWrong{29, 14, 10};

// After each of `ids`, one by one, or together.
std::vector<float> logits_of_steps(Rig& rig, const Ids& ids) {
  std::vector<float> all, one(rig.package().manifest().model.vocab_size);
  for (const int32_t id : ids) {
    if (!rig.step(id).ok() || !rig.decoder().logits(one).ok()) throw std::runtime_error("a step failed");
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

std::vector<float> logits_of_pass(Rig& rig, const Ids& ids) {
  std::vector<float> all, one(rig.package().manifest().model.vocab_size);
  if (!rig.decoder().verify(ids).ok()) throw std::runtime_error("a pass failed");
  for (size_t token = 0; token < ids.size(); ++token) {
    if (!rig.decoder().logits(token, one).ok()) throw std::runtime_error("a head failed");
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

Ids joined(const Ids& a, const Ids& b) {
  Ids all = a;
  all.insert(all.end(), b.begin(), b.end());
  return all;
}

// Rounds of all sizes, with drafts that turn out wrong behind those that count.
std::vector<float> run_in_rounds(const TinyPackage& files, const RigOptions& options) {
  Rig rig(files, options);
  EXPECT_TRUE(rig.prefill(kPrompt).ok());
  const size_t logits = rig.package().manifest().model.vocab_size;
  std::vector<float> all;
  size_t done = 0;
  for (const size_t count : {1, 3, 2, 1}) {
    const Ids right(kText.begin() + done, kText.begin() + done + count);
    const std::vector<float> pass = logits_of_pass(rig, joined(right, kWrong));
    all.insert(all.end(), pass.begin(), pass.begin() + count * logits);
    rig.decoder().keep(count);
    done += count;
    EXPECT_EQ(rig.decoder().position(), kPrompt.size() + done);
  }
  EXPECT_EQ(done, kText.size());
  return all;
}

std::vector<float> run_in_steps(const TinyPackage& files, const RigOptions& options) {
  Rig rig(files, options);
  EXPECT_TRUE(rig.prefill(kPrompt).ok());
  return logits_of_steps(rig, kText);
}

class Verify : public ::testing::TestWithParam<size_t> {};

std::string name_of_rule(const ::testing::TestParamInfo<size_t>& param) { return name_of(kRules[param.param]); }

// Of kRules; with each another element type.
INSTANTIATE_TEST_SUITE_P(Rules, Verify, ::testing::Range(size_t{0}, kRules.size()), name_of_rule);

TEST_P(Verify, ATokenHasTheBitsThatItHasAlone) {
  const TinyPackage files({.layers = 3,
                           .hidden_size = 140,
                           .dtype = static_cast<DType>(GetParam() % 5),
                           .permuted = true,
                           .predictor = TinyPredictor::kRandom,
                           .rule = kRules[GetParam()]});
  for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kLowRank, PredictorKind::kOracle}) {
    RigOptions options{.predictor = predictor, .residency = Residency::kNaive};
    const std::vector<float> expected = run_in_steps(files, options);
    EXPECT_TRUE(same_bits(run_in_rounds(files, options), expected)) << "naive";
    for (const uint32_t capacity : {0u, 1u, 60u, 200u}) {
      for (const bool overlap : {false, true}) {
        options = {.layout = overlap ? Layout::kBundled : Layout::kSplit,
                   .order = overlap ? Order::kNone : Order::kCoactivation,
                   .predictor = predictor,
                   .capacity_rows = capacity,
                   .staging_bytes = overlap ? 240u * 1024 : 512u * 1024,  // several rounds of reads, or one
                   .threads = overlap ? 2 : 1,
                   .kv = overlap ? KvType::kFp16 : KvType::kInt8,
                   .overlap = overlap};
        const std::vector<float> alone = run_in_steps(files, options);
        EXPECT_TRUE(same_bits(run_in_rounds(files, options), alone)) << capacity << " rows";
        options.window = 2;
        EXPECT_TRUE(same_bits(run_in_rounds(files, options), alone)) << capacity << " rows, a window";
        options.residency = Residency::kHybrid;
        EXPECT_TRUE(same_bits(run_in_rounds(files, options), alone)) << capacity << " rows, hybrid";
      }
    }
  }
}

TEST(VerifyBits, WhateverThePredictorReads) {
  for (const std::string input : {"residual", "layer_input", "normed_layer_input"}) {
    const TinyPackage files({.layers = 3, .predictor = TinyPredictor::kRandom, .predictor_input = input});
    for (const bool overlap : {false, true}) {
      const RigOptions options{.predictor = PredictorKind::kLowRank, .capacity_rows = 150, .overlap = overlap};
      EXPECT_TRUE(same_bits(run_in_rounds(files, options), run_in_steps(files, options))) << input;
    }
  }
}

TEST(VerifyWindow, OnlyTokensThatCountAreInIt) {
  const TinyPackage files({.predictor = TinyPredictor::kRandom});
  for (const uint32_t window : {1u, 2u, 4u}) {
    const RigOptions options{.predictor = PredictorKind::kLowRank, .window = window, .capacity_rows = 200};
    for (const size_t count : {1, 2, 4}) {
      Rig steps(files, options), pass(files, options);
      const Ids right(kText.begin(), kText.begin() + count);
      ASSERT_TRUE(steps.prefill(kPrompt).ok() && pass.prefill(kPrompt).ok());
      logits_of_steps(steps, right);
      logits_of_pass(pass, joined(right, kWrong));
      pass.decoder().keep(count);
      for (uint32_t layer = 0; layer < 2; ++layer) {
        EXPECT_EQ(pass.ffn().cached_rows(layer), steps.ffn().cached_rows(layer)) << window << " tokens, " << count;
        EXPECT_EQ(pass.ffn().window_union(layer), steps.ffn().window_union(layer));
      }
      steps.decoder().take_counters();
      pass.decoder().take_counters();
      ASSERT_TRUE(steps.step(20).ok() && pass.step(20).ok());
      EXPECT_EQ(pass.decoder().take_counters().misses, steps.decoder().take_counters().misses);
    }
  }
}

TEST(VerifyCounters, EachTokenSelectsAndWhatIsReadIsReadOnce) {
  const TinyPackage files({.predictor = TinyPredictor::kRandom});
  for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kLowRank}) {
    const RigOptions options{.predictor = predictor, .residency = Residency::kHybrid, .overlap = false};
    Rig steps(files, options), pass(files, options);
    ASSERT_TRUE(steps.prefill(kPrompt).ok() && pass.prefill(kPrompt).ok());
    steps.decoder().take_counters();
    pass.decoder().take_counters();
    logits_of_steps(steps, kText);
    logits_of_pass(pass, kText);
    const Counters alone = steps.decoder().take_counters();
    const Counters together = pass.decoder().take_counters();
    EXPECT_EQ(together.selected, alone.selected);
    EXPECT_EQ(together.fired, alone.fired);
    EXPECT_EQ(together.selected, together.hits + together.misses);
    EXPECT_EQ(alone.hits, 0);
    EXPECT_GT(together.hits, 0);
    EXPECT_LT(2 * together.bytes_wanted, alone.bytes_wanted);
    const int64_t bundle = 2 * 40 * 2;
    EXPECT_EQ(together.misses * bundle, together.bytes_wanted - 2 * 40 * static_cast<int64_t>(2 * kText.size()))
        << "and a token's and a position's embedding";
  }
}

}  // namespace
}  // namespace flashneuron::testing
