// gate_first reads less, and computes the same.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "decode/rig.h"
#include "flash/faulty_reader.h"
#include "support/bits.h"
#include "support/rules.h"

namespace flashneuron::testing {
namespace {

const std::vector<int32_t> kPrompt{1, 7, 30, 4, 4, 9, 2, 18, 5};
constexpr int kSteps = 8;

std::vector<float> run(const TinyPackage& files, const RigOptions& options) {
  return Rig(files, options).run(kPrompt, kSteps);
}

Counters decode_counters(const TinyPackage& files, const RigOptions& options) {
  return Rig(files, options).count(kPrompt, kSteps);
}

class GateFirst : public ::testing::TestWithParam<size_t> {};

std::string name_of_rule(const ::testing::TestParamInfo<size_t>& param) { return name_of(kRules[param.param]); }

// Of kRules; with each another element type.
INSTANTIATE_TEST_SUITE_P(Rules, GateFirst, ::testing::Range(size_t{1}, kRules.size()), name_of_rule);

TEST_P(GateFirst, DoesNotChangeABit) {
  const TinyPackage files({.layers = 3,
                           .dtype = static_cast<DType>(GetParam() - 1),
                           .permuted = true,
                           .predictor = TinyPredictor::kRandom,
                           .rule = kRules[GetParam()]});
  for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kLowRank, PredictorKind::kOracle}) {
    const std::vector<float> expected = run(files, {.predictor = predictor, .residency = Residency::kNaive});
    for (const Layout layout : {Layout::kBundled, Layout::kSplit}) {
      for (const uint32_t capacity : {0u, 60u, 200u}) {
        for (const bool overlap : {false, true}) {
          RigOptions options{.layout = layout, .predictor = predictor, .capacity_rows = capacity, .gate_first = true};
          options.order = overlap ? Order::kNone : Order::kCoactivation;
          options.staging_bytes = overlap ? 160 * 1024 : 512 * 1024;  // several rounds, or one
          options.threads = overlap ? 2 : 1;
          options.overlap = overlap;
          if (capacity == 60) options.pinned = {3, 50, 199};
          EXPECT_TRUE(same_bits(run(files, options), expected)) << capacity << " rows";
          options.window = 2;
          EXPECT_TRUE(same_bits(run(files, options), expected)) << capacity << " rows, a window";
          options.residency = Residency::kHybrid;
          EXPECT_TRUE(same_bits(run(files, options), expected)) << capacity << " rows, hybrid";
        }
      }
    }
  }
}

// Each neuron's gate, and its other rows where it fires.
TEST(GateFirstReads, WantsTheRestOfFiringNeuronsAlone) {
  const TinyPackage files({.rule = kRules[1]});
  const uint64_t row = files.options().hidden_size * 2;
  const uint64_t embedding = uint64_t{kSteps} * 2 * row;
  for (const Layout layout : {Layout::kBundled, Layout::kSplit}) {
    for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kOracle}) {
      const RigOptions options{.layout = layout, .predictor = predictor, .overlap = false, .gate_first = true};
      const Counters counters = decode_counters(files, options);
      EXPECT_EQ(counters.selected, counters.misses);
      EXPECT_EQ(static_cast<uint64_t>(counters.bytes_wanted),
                embedding + row * static_cast<uint64_t>(counters.selected + 2 * counters.fired));
      if (predictor == PredictorKind::kNone) {
        EXPECT_LT(counters.fired, counters.selected * 3 / 4);
      } else {
        EXPECT_EQ(counters.fired, counters.selected);
      }
    }
  }
}

TEST(GateFirstReads, CachesWhatFires) {
  const TinyPackage files({.layers = 4, .predictor = TinyPredictor::kRandom, .rule = kRules[3]});
  RigOptions options{.predictor = PredictorKind::kLowRank, .window = 3, .capacity_rows = 200};
  const Counters whole = decode_counters(files, options);
  options.gate_first = true;
  const Counters gates = decode_counters(files, options);
  EXPECT_EQ(gates.selected, whole.selected);
  EXPECT_EQ(gates.fired, whole.fired);
  EXPECT_EQ(gates.selected, gates.hits + gates.misses);
  EXPECT_GE(gates.misses, whole.misses);
  EXPECT_GT(gates.hits, 0);
  EXPECT_GT(gates.early_used, 0);
  EXPECT_LE(gates.early_used, gates.early);
}

TEST(GateFirstReads, AFailedReadIsReportedAndAResetLeavesNoHalfRecord) {
  const TinyPackage files({.layers = 3, .predictor = TinyPredictor::kRandom, .rule = kRules[1]});
  const RigOptions options{.predictor = PredictorKind::kLowRank, .window = 4, .capacity_rows = 90, .gate_first = true};
  const std::vector<float> expected = run(files, options);
  ReadFaults faults;
  for (uint64_t read = 200; read < 220; ++read) faults.reads.insert(read);
  Rig rig(files, options, std::make_unique<FaultyReader>(make_pread_reader({.workers = 2}), faults));
  ASSERT_TRUE(rig.prefill({1, 2, 3}).ok());
  bool failed = false;
  for (int i = 0; i < 50 && !failed; ++i) failed = rig.step(i % 5 + 3).code() == StatusCode::kIo;
  EXPECT_TRUE(failed);
  bool healed = false;
  for (int attempt = 0; attempt < 40 && !healed; ++attempt) {
    rig.decoder().rewind();
    rig.ffn().reset();
    healed = rig.prefill(kPrompt).ok();
  }
  ASSERT_TRUE(healed);
  rig.decoder().rewind();
  rig.ffn().reset();
  EXPECT_TRUE(same_bits(rig.run(kPrompt, kSteps), expected));
}

}  // namespace
}  // namespace flashneuron::testing
