// A replay counts what the FFN stage does with the same selections.
#include "engine/replay.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "decode/rig.h"
#include "package/neuron_lists.h"
#include "support/package_files.h"
#include "support/rules.h"

namespace flashneuron {
namespace {

using testing::Rig;
using testing::RigOptions;
using testing::TinyPackage;

using Rows = std::vector<std::vector<std::vector<uint32_t>>>;  // [layer][token]: neurons, ascending

// Neurons that come back: each token keeps most of what the one before it selected.
Rows random_rows(uint32_t layers, uint32_t tokens, uint32_t neurons, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::bernoulli_distribution comes(0.08), stays(0.7);
  Rows rows(layers);
  for (auto& layer : rows) {
    std::vector<bool> now(neurons);
    for (uint32_t token = 0; token < tokens; ++token) {
      std::vector<uint32_t>& selected = layer.emplace_back();
      for (uint32_t neuron = 0; neuron < neurons; ++neuron) {
        now[neuron] = comes(random) || (now[neuron] && stays(random));
        if (now[neuron]) selected.push_back(neuron);
      }
    }
  }
  return rows;
}

// By FORMAT.md, "trace.bin".
testing::Bytes trace_bytes(const Rows& selected, const Rows& expected, uint32_t neurons) {
  const size_t row = (neurons + 63) / 64 * 8;
  const size_t tokens = selected.front().size();
  testing::Bytes bytes(64 + selected.size() * 2 * tokens * row);
  const auto put = [&](size_t at, size_t value) {
    for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
  };
  const std::string magic("FNTRACE\1", 8);
  for (size_t i = 0; i < magic.size(); ++i) bytes[i] = static_cast<std::byte>(magic[i]);
  put(8, 64);
  put(12, selected.size());
  put(16, neurons);
  put(20, tokens);
  put(24, 2);
  size_t at = 64;
  for (size_t layer = 0; layer < selected.size(); ++layer) {
    for (const Rows* kind : {&selected, &expected}) {
      for (const std::vector<uint32_t>& token : (*kind)[layer]) {
        for (const uint32_t neuron : token) bytes[at + neuron / 8] |= std::byte{1} << (neuron % 8);
        at += row;
      }
    }
  }
  return bytes;
}

class Replays : public ::testing::Test {
 protected:
  Replays() {
    testing::write_file(path_, trace_bytes(selected_, expected_, neurons_));
    trace_.emplace(ActivationTrace::open(path_, "trace").value());
  }

  // The stage, driven by hand as the decoder drives it, against the replay.
  void compare(const TinyPackage& files, const RigOptions& options) {
    Rig rig(files, options);
    const ModelFacts& facts = rig.package().manifest().model;
    const std::vector<float> x(facts.hidden_size, 0.25f);
    std::vector<float> out(facts.hidden_size);
    std::vector<Counters> stage(facts.layers);
    for (uint32_t token = 0; token < kTokens; ++token) {
      if (rig.ffn().wants_early(0)) {
        ASSERT_TRUE(rig.ffn().read_early(0, expected_[0][token], stage[0]).ok());
      }
      for (uint32_t layer = 0; layer < facts.layers; ++layer) {
        ASSERT_TRUE(rig.ffn().begin(layer, x, selected_[layer][token], stage[layer]).ok());
        if (rig.ffn().wants_early(layer + 1)) {
          ASSERT_TRUE(rig.ffn().read_early(layer + 1, expected_[layer + 1][token], stage[layer + 1]).ok());
        }
        ASSERT_TRUE(rig.ffn().finish(out, stage[layer]).ok());
      }
    }
    ReplayModel model;
    const uint32_t rows = facts.gated ? 3 : 2;
    model.parts = options.layout == Layout::kBundled ? 1 : rows;
    model.record_bytes = facts.hidden_size * 2 * (options.layout == Layout::kBundled ? rows : 1);
    model.neurons_per_shard = files.options().neurons_per_shard;
    model.staging_bytes = options.staging_bytes;
    for (uint32_t layer = 0; layer < facts.layers; ++layer) {
      model.places.push_back(options.order == Order::kNone ? std::vector<uint32_t>() : files.layer(layer).places);
    }
    model.capacity_rows.assign(facts.layers, options.capacity_rows);
    model.pinned.assign(facts.layers, options.pinned);
    model.window = options.window;
    model.overlap = options.overlap;
    const std::vector<LayerReplay> found = replay(model, *trace_, options.reads, rig.reader().block_bytes(), 0).value();
    for (uint32_t layer = 0; layer < facts.layers; ++layer) {
      const Counters& all = found[layer].all;
      EXPECT_EQ(all.selected, stage[layer].selected);
      EXPECT_EQ(all.hits, stage[layer].hits);
      EXPECT_EQ(all.misses, stage[layer].misses);
      EXPECT_EQ(all.early, stage[layer].early);
      EXPECT_EQ(all.early_used, stage[layer].early_used);
      EXPECT_EQ(all.requests, stage[layer].requests);
      EXPECT_EQ(all.bytes_wanted, stage[layer].bytes_wanted);
      EXPECT_EQ(all.bytes_read, stage[layer].bytes_read);
      const Counters& early = found[layer].early;
      EXPECT_EQ(early.requests > 0, options.overlap && all.early > 0);
      expect_rounds(found[layer].demand_rounds, all.requests - early.requests, all.bytes_read - early.bytes_read);
      expect_rounds(found[layer].early_rounds, early.requests, early.bytes_read);
    }
  }

  static void expect_rounds(const LayerReplay::Rounds& rounds, int64_t requests, int64_t bytes_read) {
    EXPECT_EQ(rounds.count > 0, requests > 0);
    EXPECT_LE(rounds.count, requests);
    EXPECT_LE(rounds.longest_bytes, bytes_read);
    EXPECT_GE(rounds.longest_bytes * requests, bytes_read * rounds.count) << "the longest is no shorter than the mean";
  }

  static constexpr uint32_t kTokens = 40;
  const uint32_t neurons_ = 200;
  const Rows selected_ = random_rows(2, kTokens, neurons_, 1);
  const Rows expected_ = random_rows(2, kTokens, neurons_, 2);
  const testing::TempFolder folder_;
  const std::string path_ = (folder_.path() / "trace.bin").string();
  std::optional<ActivationTrace> trace_;
};

TEST_F(Replays, CountsWhatTheStageDoes) {
  const TinyPackage files({.ffn_size = neurons_, .permuted = true});
  const TinyPackage gated({.ffn_size = neurons_, .permuted = true, .rule = testing::kRules[3]});
  for (const Layout layout : {Layout::kBundled, Layout::kSplit}) {
    for (const Order order : {Order::kNone, Order::kCoactivation}) {
      for (const uint32_t capacity : {0u, 25u, 90u, 200u}) {
        for (const std::optional<uint32_t> window : {std::optional<uint32_t>(), std::optional<uint32_t>(2)}) {
          for (const bool overlap : {false, true}) {
            for (const uint64_t staging : {160u << 10, 512u << 10}) {
              RigOptions options{.layout = layout, .order = order, .predictor = PredictorKind::kLowRank};
              options.window = window;
              options.capacity_rows = capacity;
              options.pinned = capacity < 90 ? std::vector<uint32_t>() : std::vector<uint32_t>{3, 50, 199};
              options.staging_bytes = staging;
              options.reads = {.max_gap_bytes = overlap ? 4096u : 0u, .max_read_bytes = 16384};
              options.overlap = overlap;
              compare(files, options);
              if (capacity != 90) compare(gated, options);
            }
          }
        }
      }
    }
  }
}

TEST_F(Replays, RefusesATraceThatIsDamaged) {
  testing::Bytes bytes = trace_bytes(selected_, expected_, neurons_);
  const auto code = [&](size_t at, uint8_t value) {
    testing::Bytes changed = bytes;
    changed[at] = std::byte{value};
    testing::write_file(path_, changed);
    return ActivationTrace::open(path_, "trace").status().code();
  };
  EXPECT_EQ(code(0, 'X'), StatusCode::kCorrupt);
  EXPECT_EQ(code(7, 2), StatusCode::kNewerFormat);
  EXPECT_EQ(code(12, 0), StatusCode::kCorrupt);
  EXPECT_EQ(code(16, 1), StatusCode::kCorrupt);
  EXPECT_EQ(code(24, 3), StatusCode::kCorrupt);
  EXPECT_EQ(code(40, 1), StatusCode::kCorrupt);
  EXPECT_EQ(ActivationTrace::open("/no/such/trace", "trace").status().code(), StatusCode::kNotFound);
  testing::Bytes beyond = bytes;
  beyond[64 + 25] = std::byte{0xff};  // neurons 200 … 207 of 200
  testing::write_file(path_, beyond);
  EXPECT_EQ(ActivationTrace::open(path_, "trace").value().selected(0, 0).status().code(), StatusCode::kCorrupt);
  EXPECT_EQ(replay({}, *trace_, {}, 4096, kTokens).status().code(), StatusCode::kBadInput);
}

TEST_F(Replays, ATraceAloneSharesRowsByItsOwnFrequencies) {
  int64_t before = INT64_MAX;
  for (const uint64_t rows : {0u, 40u, 150u, 400u}) {
    const ReplayModel model = model_of_trace(*trace_, 160, rows, {}).value();
    int64_t misses = 0;
    const std::vector<LayerReplay> layers = replay(model, *trace_, {}, 4096, kTokens / 2).value();
    for (const LayerReplay& layer : layers) misses += layer.all.misses;
    EXPECT_LE(misses, before) << rows;
    before = misses;
  }
  EXPECT_EQ(before, 0) << "all rows";
}

}  // namespace
}  // namespace flashneuron
