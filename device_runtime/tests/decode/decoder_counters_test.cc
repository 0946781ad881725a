// What a decoder counts of its reads.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "decode/decoder.h"
#include "decode/rig.h"

namespace flashneuron::testing {
namespace {

const std::vector<int32_t> kPrompt{1, 7, 30, 4, 4, 9, 2, 18, 5, 11, 3};
constexpr int kSteps = 12;

Counters decode_counters(const TinyPackage& files, const RigOptions& options) {
  return Rig(files, options).count(kPrompt, kSteps);
}

TEST(DecoderCounters, SelectedIsHitsPlusMissesAndAllResidentReadsEmbeddingRowsOnly) {
  const TinyPackage files;
  for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kOracle, PredictorKind::kLowRank}) {
    for (const uint32_t capacity : {0u, 60u, 200u}) {
      const Counters counters = decode_counters(files, {.predictor = predictor, .capacity_rows = capacity});
      EXPECT_EQ(counters.selected, counters.hits + counters.misses);
      EXPECT_LE(counters.bytes_wanted, counters.bytes_read);
      EXPECT_LE(counters.stall_us, counters.wall_us);
      if (capacity == 200) {
        EXPECT_EQ(counters.misses, 0);
        EXPECT_EQ(counters.requests, kSteps) << "the token's row and the position's, neighbours in so small a table";
      }
      if (capacity == 0) {
        EXPECT_EQ(counters.hits, 0);
      }
    }
  }
}

TEST(DecoderCounters, EarlyReadsAreCountedAndOnlyMissesUseThem) {
  const TinyPackage files({.layers = 4});
  RigOptions options{.predictor = PredictorKind::kOracle, .window = 1, .capacity_rows = 100};
  const Counters early = decode_counters(files, options);
  EXPECT_GT(early.early_used, 0);
  EXPECT_LE(early.early_used, early.early);
  EXPECT_LE(early.early_used, early.misses);
  options.overlap = false;
  const Counters late = decode_counters(files, options);
  EXPECT_EQ(late.early, 0);
  EXPECT_EQ(late.misses, early.misses) << "what was read early still counts as a miss";
}

TEST(DecoderCounters, ALargerCacheMissesLess) {
  const TinyPackage files;
  int64_t before = INT64_MAX;
  for (const uint32_t capacity : {0u, 40u, 80u, 120u, 200u}) {
    const Counters counters = decode_counters(files, {.predictor = PredictorKind::kOracle, .capacity_rows = capacity});
    EXPECT_LT(counters.misses, before) << capacity;
    before = counters.misses;
  }
}

TEST(DecoderCounters, AWindowKeepsWhatItSaysAndSplitAsksTwice) {
  const TinyPackage files;
  RigOptions options{.predictor = PredictorKind::kOracle, .window = 1, .capacity_rows = 200};
  const Counters narrow = decode_counters(files, options);
  options.window = 6;
  const Counters wide = decode_counters(files, options);
  EXPECT_LT(wide.misses, narrow.misses);
  EXPECT_GT(wide.misses, 0);

  // Read one by one, a neuron is one request bundled and two split. Records here are smaller than a block, so that
  // neighbours share reads: what is wanted stays equal.
  options.layout = Layout::kSplit;
  const Counters split = decode_counters(files, options);
  EXPECT_EQ(split.bytes_wanted, wide.bytes_wanted);
  EXPECT_EQ(split.misses, wide.misses);
}

TEST(DecoderCounters, NaiveReadsEveryWeightOfThePackageForEveryToken) {
  const TinyPackage files;
  Rig rig(files, {.residency = Residency::kNaive});
  ASSERT_TRUE(rig.prefill(kPrompt).ok());
  rig.decoder().take_counters();
  ASSERT_TRUE(rig.step(5).ok());
  const Counters counters = rig.decoder().take_counters();
  const Manifest& manifest = rig.package().manifest();
  const uint64_t ffn = uint64_t{2} * manifest.model.layers * manifest.model.ffn_size * manifest.model.hidden_size * 2;
  uint64_t attention = 0;
  for (const std::string& name : manifest.attention.front().layers) attention += rig.package().bytes_of(name);
  const uint64_t row = manifest.model.hidden_size * 2;
  EXPECT_EQ(static_cast<uint64_t>(counters.bytes_wanted),
            ffn + attention + rig.package().bytes_of(manifest.embedding.file) + 2 * row);
}

TEST(DecoderCounters, BundlingHalvesTheRequestsAtEqualBytes) {
  const TinyPackage files({.hidden_size = 1024, .ffn_size = 64, .dtype = DType::kFp32});
  RigOptions options{.predictor = PredictorKind::kOracle, .staging_bytes = 4 << 20};
  const auto cost = [&] {
    Rig rig(files, options);
    EXPECT_TRUE(rig.prefill({1, 2, 3}).ok());
    rig.decoder().clear_layer_counters();
    EXPECT_TRUE(rig.step(4).ok());
    Counters sum;
    for (const Counters& layer : rig.decoder().layer_counters()) sum += layer;
    return sum;
  };
  const Counters bundled = cost();
  options.layout = Layout::kSplit;
  const Counters split = cost();
  EXPECT_GT(bundled.requests, 2);
  EXPECT_EQ(split.requests, 2 * bundled.requests);
  EXPECT_EQ(split.bytes_read, bundled.bytes_read);
}

TEST(DecoderCounters, NeighboursByPlaceShareReads) {
  const TinyPackage files({.layers = 1, .hidden_size = 1024, .ffn_size = 64, .dtype = DType::kFp32, .permuted = true});
  RigOptions options{.order = Order::kCoactivation, .staging_bytes = 4 << 20};
  const auto dense_requests = [&] {
    Rig rig(files, options);
    EXPECT_TRUE(rig.prefill({1, 2, 3}).ok());
    return rig.decoder().layer_counters().front().requests;
  };
  const int64_t permuted = dense_requests();
  options.order = Order::kNone;
  EXPECT_EQ(permuted, dense_requests()) << "a round that holds the whole layer reads it from front to back";
}

TEST(DecoderCounters, PinnedNeuronsAreNeverReadAgain) {
  const TinyPackage files({.permuted = true});
  std::vector<uint32_t> all(files.options().ffn_size);
  for (uint32_t neuron = 0; neuron < all.size(); ++neuron) all[neuron] = neuron;
  RigOptions options{.predictor = PredictorKind::kOracle, .window = 1, .capacity_rows = 200};
  const Counters cold = decode_counters(files, options);
  options.pinned.assign(all.begin(), all.begin() + 100);
  const Counters half = decode_counters(files, options);
  options.pinned = all;
  Rig rig(files, options);
  EXPECT_LT(half.misses, cold.misses);
  EXPECT_EQ(decode_counters(files, options).misses, 0);
  EXPECT_TRUE(rig.prefill(kPrompt).ok());
  rig.ffn().reset();
  EXPECT_EQ(rig.ffn().cached_rows(0), 200u);
}

}  // namespace
}  // namespace flashneuron::testing
