// The promise of the switches: they decide where bytes come from, never what is computed.
#include "decode/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "decode/rig.h"
#include "flash/faulty_reader.h"
#include "support/bits.h"
#include "support/rules.h"

namespace flashneuron::testing {
namespace {

const std::vector<int32_t> kPrompt{1, 7, 30, 4, 4, 9, 2, 18, 5, 11, 3};
constexpr int kSteps = 12;

std::vector<float> run(const TinyPackage& files, const RigOptions& options) {
  return Rig(files, options).run(kPrompt, kSteps);
}

struct Kind {
  DType dtype;
  ActivationRule rule;
};

// Every element type without a gate and with one; every rule.
std::vector<Kind> kinds() {
  constexpr std::array kTypes = {DType::kFp32, DType::kFp16, DType::kBf16, DType::kInt8, DType::kInt4};
  static_assert(kRules.size() == kTypes.size() + 1);
  std::vector<Kind> all;
  for (size_t i = 0; i < kTypes.size(); ++i) {
    all.push_back({kTypes[i], kRules[0]});
    all.push_back({kTypes[i], kRules[i + 1]});
  }
  return all;
}

class DecoderBits : public ::testing::TestWithParam<Kind> {};

std::string name_of_kind(const ::testing::TestParamInfo<Kind>& info) {
  constexpr const char* kTypes[] = {"Fp32", "Fp16", "Bf16", "Int8", "Int4"};
  return name_of(info.param.rule) + kTypes[static_cast<size_t>(info.param.dtype)];
}

INSTANTIATE_TEST_SUITE_P(Kinds, DecoderBits, ::testing::ValuesIn(kinds()), name_of_kind);

TEST_P(DecoderBits, NoneAndOracleAreTheSameInEveryResidencyLayoutWindowSizeAndThreadCount) {
  const TinyPackage files({.hidden_size = 140, .dtype = GetParam().dtype, .rule = GetParam().rule});
  const std::vector<float> expected = run(files, {.residency = Residency::kNaive});
  for (const float logit : expected) ASSERT_TRUE(std::isfinite(logit));

  for (const Layout layout : {Layout::kBundled, Layout::kSplit}) {
    for (const int threads : {1, 3}) {
      RigOptions options{.layout = layout, .threads = threads};
      for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kOracle}) {
        options.predictor = predictor;
        options.residency = Residency::kNaive;
        options.capacity_rows = 0;
        EXPECT_TRUE(same_bits(run(files, options), expected)) << "naive";
        for (const Residency residency : {Residency::kHybrid, Residency::kCached}) {
          options.residency = residency;
          for (const uint32_t capacity : {0u, 1u, 37u, 100u, 200u}) {
            options.capacity_rows = capacity;
            EXPECT_TRUE(same_bits(run(files, options), expected)) << capacity << " rows";
          }
        }
        options.residency = Residency::kCached;
        for (const uint32_t window : {1u, 4u, 100u}) {
          options.window = window;
          EXPECT_TRUE(same_bits(run(files, options), expected)) << "window " << window;
        }
        options.window.reset();
      }
    }
  }
}

TEST_P(DecoderBits, TheLowRankResultDoesNotDependOnWhereBytesComeFrom) {
  const TinyPackage files({.dtype = GetParam().dtype, .predictor = TinyPredictor::kRandom, .rule = GetParam().rule});
  const std::vector<float> expected =
      run(files, {.predictor = PredictorKind::kLowRank, .residency = Residency::kNaive});
  EXPECT_FALSE(same_bits(expected, run(files, {}))) << "a random predictor must change the result";
  for (const Layout layout : {Layout::kBundled, Layout::kSplit}) {
    for (const uint32_t capacity : {0u, 50u, 200u}) {
      RigOptions options{
          .layout = layout, .predictor = PredictorKind::kLowRank, .capacity_rows = capacity, .threads = 2};
      EXPECT_TRUE(same_bits(run(files, options), expected));
      options.window = 2;
      EXPECT_TRUE(same_bits(run(files, options), expected));
      options.residency = Residency::kHybrid;
      EXPECT_TRUE(same_bits(run(files, options), expected));
    }
  }
}

TEST_P(DecoderBits, TheOrderOnFlashAndTheHotSetDoNotChangeABit) {
  const TinyPackage files({.dtype = GetParam().dtype, .permuted = true, .rule = GetParam().rule});
  for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kLowRank, PredictorKind::kOracle}) {
    const std::vector<float> expected = run(files, {.predictor = predictor, .residency = Residency::kNaive});
    for (const Layout layout : {Layout::kBundled, Layout::kSplit}) {
      for (const Order order : {Order::kNone, Order::kCoactivation}) {
        RigOptions options{.layout = layout, .order = order, .predictor = predictor, .capacity_rows = 70};
        for (const Residency residency : {Residency::kNaive, Residency::kHybrid, Residency::kCached}) {
          options.residency = residency;
          EXPECT_TRUE(same_bits(run(files, options), expected));
        }
        options.staging_bytes = 160 * 1024;
        EXPECT_TRUE(same_bits(run(files, options), expected)) << "several rounds";
        options.pinned = {3, 50, 199};
        for (const uint32_t capacity : {3u, 60u}) {
          options.capacity_rows = capacity;
          EXPECT_TRUE(same_bits(run(files, options), expected)) << capacity << " rows";
        }
      }
    }
  }
}

TEST(Decoder, NaiveReadsEveryRowHoweverFewAreSelected) {
  const TinyPackage files({.hidden_size = 240, .dtype = DType::kFp32});
  RigOptions small{.residency = Residency::kNaive, .staging_bytes = 160 * 1024};
  Rig naive(files, small), cached(files, {});
  const ModelFacts& model = naive.package().manifest().model;
  const std::vector<float> x(model.hidden_size, 0.25f);
  const uint32_t last = model.ffn_size - 1;
  for (const std::vector<uint32_t>& selected : {std::vector<uint32_t>{last}, {0, last}, {0}, {}, {last / 2, last}}) {
    std::vector<float> found(model.hidden_size), expected(model.hidden_size);
    Counters counters, ignored;
    ASSERT_TRUE(naive.ffn().begin(0, x, selected, counters).ok());
    ASSERT_TRUE(naive.ffn().finish(found, counters).ok());
    ASSERT_TRUE(cached.ffn().begin(0, x, selected, ignored).ok());
    ASSERT_TRUE(cached.ffn().finish(expected, ignored).ok());
    EXPECT_TRUE(same_bits(found, expected));
    EXPECT_GE(counters.bytes_wanted, int64_t{model.ffn_size} * model.hidden_size * 8);
  }
}

TEST(Decoder, APredictorThatIsExactGivesTheDenseResult) {
  for (const ActivationRule& rule : {kRules[0], kRules[1], kRules[2]}) {
    const TinyPackage files({.predictor = TinyPredictor::kExact, .rule = rule});
    const std::vector<float> dense = run(files, {});
    const std::vector<float> predicted = run(files, {.predictor = PredictorKind::kLowRank, .capacity_rows = 80});
    ASSERT_EQ(dense.size(), predicted.size());
    for (size_t i = 0; i < dense.size(); ++i) EXPECT_NEAR(dense[i], predicted[i], 1e-4 * (1 + std::abs(dense[i])));
  }
}

TEST(Decoder, OverlapAndEarlyReadsDoNotChangeABit) {
  const TinyPackage files({.layers = 4, .predictor = TinyPredictor::kRandom, .rule = kRules[1]});
  for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kOracle, PredictorKind::kLowRank}) {
    const std::vector<float> expected = run(files, {.predictor = predictor, .residency = Residency::kNaive});
    for (const Residency residency : {Residency::kNaive, Residency::kHybrid, Residency::kCached}) {
      for (const Layout layout : {Layout::kBundled, Layout::kSplit}) {
        for (const bool overlap : {false, true}) {
          const RigOptions options{.layout = layout,
                                   .predictor = predictor,
                                   .residency = residency,
                                   .window = 2,
                                   .capacity_rows = residency == Residency::kNaive ? 0u : 60u,
                                   .threads = 2,
                                   .overlap = overlap};
          EXPECT_TRUE(same_bits(run(files, options), expected));
        }
      }
    }
  }
}

TEST(Decoder, AFailedEarlyReadOfANeuronThatIsNeededIsReportedAndAResetHeals) {
  const TinyPackage files({.layers = 3});
  const Package package = Package::open(files.folder(), std::nullopt).value();
  ReadFaults faults;
  for (uint64_t read = 200; read < 220; ++read) faults.reads.insert(read);
  Rig rig(files, {.predictor = PredictorKind::kOracle, .window = 1, .capacity_rows = 40},
          std::make_unique<FaultyReader>(make_pread_reader({.workers = 2}), faults));
  ASSERT_TRUE(rig.prefill({1, 2, 3}).ok());
  bool failed = false;
  for (int i = 0; i < 40 && !failed; ++i) failed = rig.step(i % 5 + 3).code() == StatusCode::kIo;
  EXPECT_TRUE(failed);
  rig.decoder().rewind();
  rig.ffn().reset();
  bool healed = false;
  for (int attempt = 0; attempt < 40 && !healed; ++attempt) healed = rig.prefill(kPrompt).ok();
  EXPECT_TRUE(healed);
}

TEST(Decoder, HowAPromptIsCutDoesNotChangeABit) {
  const TinyPackage files;
  for (const KvType kv : {KvType::kFp32, KvType::kFp16, KvType::kInt8}) {
    const std::vector<float> expected = run(files, {.max_chunk = 64, .kv = kv});
    for (const uint32_t chunk : {1u, 2u, 5u, 11u})
      EXPECT_TRUE(same_bits(run(files, {.max_chunk = chunk, .kv = kv}), expected)) << chunk;
  }
}

TEST(Decoder, TheKvCachesElementRoundsAndNoMore) {
  const TinyPackage files;
  const std::vector<float> exact = run(files, {.kv = KvType::kFp32});
  float magnitude = 0;
  for (const float logit : exact) magnitude = std::max(magnitude, std::abs(logit));
  for (const auto& [kv, tolerance] : {std::pair{KvType::kFp16, 1e-2f}, std::pair{KvType::kInt8, 1e-1f}}) {
    const std::vector<float> rounded = run(files, {.kv = kv});
    EXPECT_FALSE(same_bits(rounded, exact));
    // Of the prompt alone: from there on a greedy token may be another one.
    for (uint32_t id = 0; id < files.options().vocab_size; ++id) {
      EXPECT_NEAR(rounded[id], exact[id], tolerance * magnitude) << id;
    }
  }
}

TEST(Decoder, StagingSizeDoesNotChangeABit) {
  const TinyPackage files;
  for (const Layout layout : {Layout::kBundled, Layout::kSplit}) {
    const std::vector<float> expected = run(files, {.layout = layout, .staging_bytes = 1 << 20});
    EXPECT_TRUE(same_bits(run(files, {.layout = layout, .staging_bytes = 256 * 1024}), expected));
  }
}

TEST(Decoder, ReadingAcrossGapsAndTheLongestReadDoNotChangeABit) {
  const TinyPackage files({.predictor = TinyPredictor::kRandom});
  for (const Layout layout : {Layout::kBundled, Layout::kSplit}) {
    RigOptions options{.layout = layout, .predictor = PredictorKind::kLowRank, .capacity_rows = 50};
    const std::vector<float> expected = run(files, options);
    for (const ReadTuning reads : {ReadTuning{4096, 1 << 20}, ReadTuning{1 << 16, 8192}, ReadTuning{0, 4096}}) {
      options.reads = reads;
      EXPECT_TRUE(same_bits(run(files, options), expected)) << reads.max_gap_bytes << " " << reads.max_read_bytes;
    }
  }
}

TEST(Decoder, AReadThatFailsIsReportedNotComputedAround) {
  const TinyPackage files;
  const Package package = Package::open(files.folder(), std::nullopt).value();
  ReadFaults faults;
  faults.paths.insert(package.path_of(package.manifest().ffn.variants.front().layers.back().bundle.front()));
  Rig rig(files, {}, std::make_unique<FaultyReader>(make_pread_reader({.workers = 2}), faults));
  EXPECT_EQ(rig.prefill(kPrompt).code(), StatusCode::kIo);
}

TEST(Decoder, RewindingGivesTheSameAgain) {
  const TinyPackage files;
  Rig rig(files, {.predictor = PredictorKind::kOracle, .window = 3, .capacity_rows = 90});
  const std::vector<float> first = rig.run(kPrompt, kSteps);
  rig.decoder().rewind();
  EXPECT_TRUE(same_bits(rig.run(kPrompt, kSteps), first)) << "with a warm cache";
  rig.decoder().rewind();
  rig.ffn().reset();
  EXPECT_EQ(rig.ffn().cached_rows(0), 0u);
  EXPECT_TRUE(same_bits(rig.run(kPrompt, kSteps), first)) << "after a reset";
}

TEST(Decoder, TheObserverSeesEveryLayerOfTheLastToken) {
  const TinyPackage files({.layers = 3});
  Rig rig(files, {});
  std::vector<uint32_t> layers;
  rig.decoder().observe([&](uint32_t layer, std::span<const float> residual) {
    layers.push_back(layer);
    EXPECT_EQ(residual.size(), files.options().hidden_size);
  });
  ASSERT_TRUE(rig.prefill({1, 2, 3}).ok());
  EXPECT_EQ(layers, (std::vector<uint32_t>{0, 1, 2}));
}

}  // namespace
}  // namespace flashneuron::testing
