// What a decoder shows its predictor.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "decode/rig.h"
#include "support/bits.h"

namespace flashneuron::testing {
namespace {

const std::vector<int32_t> kPrompt{1, 7, 30, 4, 4, 9, 2, 18, 5, 11, 3};

// Selects every neuron, so that what it sees does not depend on what it takes.
class SpyPredictor final : public Predictor {
 public:
  SpyPredictor(PredictorInput input, uint32_t neurons) : input_(input), all_(neurons) {
    std::iota(all_.begin(), all_.end(), 0u);
  }
  PredictorInput input() const override { return input_; }
  void select(uint32_t layer, std::span<const float> x, std::vector<uint32_t>& selected) override {
    seen.push_back({layer, {x.begin(), x.end()}});
    selected = all_;
  }
  uint64_t resident_bytes() const override { return 0; }

  std::vector<std::pair<uint32_t, std::vector<float>>> seen;  // (layer, x), call by call

 private:
  PredictorInput input_;
  std::vector<uint32_t> all_;
};

// What the fake attention's norm makes of a residual.
std::vector<float> normed(const std::vector<float>& residual) {
  float square = 0;
  for (const float value : residual) square += value * value;
  std::vector<float> result;
  const float scale = 1.0f / std::sqrt(square / static_cast<float>(residual.size()) + 1e-6f);
  for (const float value : residual) result.push_back(value * scale);
  return result;
}

TEST(DecoderPredictor, SeesTheStreamThatItTakes) {
  const TinyPackage files({.layers = 3, .predictor = TinyPredictor::kNone});
  std::vector<std::vector<float>> after;  // each layer, of the last token
  const auto seen = [&](PredictorInput input, bool overlap) {
    SpyPredictor spy(input, files.options().ffn_size);
    Rig rig(files, {.spy = &spy, .window = 2, .capacity_rows = 60, .overlap = overlap});
    EXPECT_TRUE(rig.prefill(kPrompt).ok());
    after.clear();
    rig.decoder().observe(
        [&](uint32_t, std::span<const float> residual) { after.emplace_back(residual.begin(), residual.end()); });
    EXPECT_TRUE(rig.step(5).ok());
    return spy.seen;
  };
  const auto ffn_input = seen(PredictorInput::kFfnInput, false);
  const auto residual = seen(PredictorInput::kResidual, false);
  const auto entered = seen(PredictorInput::kLayerInput, false);
  const std::vector<std::vector<float>> layers_out = after;

  ASSERT_EQ(ffn_input.size(), residual.size());
  ASSERT_EQ(ffn_input.size(), entered.size());
  ASSERT_EQ(ffn_input.size(), 6u) << "the prompt's last token, which fills each layer's window, and the step";
  for (size_t call = 0; call < ffn_input.size(); ++call) {
    EXPECT_EQ(ffn_input[call].first, residual[call].first);
    EXPECT_EQ(ffn_input[call].second, normed(residual[call].second)) << "call " << call;
    EXPECT_NE(residual[call].second, entered[call].second);
  }
  // The step's three calls are the last.
  for (uint32_t layer = 1; layer < 3; ++layer) {
    EXPECT_EQ(entered[entered.size() - 3 + layer].second, layers_out[layer - 1]);
  }
  const size_t row = size_t{5} * files.options().hidden_size;
  const size_t place = (files.options().vocab_size + kPrompt.size()) * files.options().hidden_size;
  for (size_t i = 0; i < files.options().hidden_size; ++i) {
    EXPECT_EQ(entered[entered.size() - 3].second[i], files.embedding()[row + i] + files.embedding()[place + i]);
  }

  // With overlap, a layer's row also foretells the next layer's neurons.
  const auto early = seen(PredictorInput::kResidual, true);
  ASSERT_GT(early.size(), residual.size());
  const auto* const step = &early[early.size() - 5];
  const uint32_t layers[] = {0, 1, 1, 2, 2};
  for (size_t call = 0; call < 5; ++call) EXPECT_EQ(step[call].first, layers[call]);
  EXPECT_EQ(step[1].second, step[0].second);
  EXPECT_EQ(step[3].second, step[2].second);
  EXPECT_EQ(step[4], residual.back());
  // What the layer begins with is known in time for its own.
  EXPECT_EQ(seen(PredictorInput::kLayerInput, true), entered);

  const auto normed_input = seen(PredictorInput::kNormedLayerInput, true);
  ASSERT_EQ(normed_input.size(), entered.size());
  for (size_t call = 0; call < entered.size(); ++call) {
    const std::vector<float>& sum = entered[call].second;
    const float count = static_cast<float>(sum.size());
    const float mean = std::accumulate(sum.begin(), sum.end(), 0.0f) / count;
    float variance = 0;
    for (const float value : sum) variance += (value - mean) * (value - mean) / count;
    for (size_t i = 0; i < sum.size(); ++i) {
      EXPECT_NEAR(normed_input[call].second[i], (sum[i] - mean) / std::sqrt(variance + 1e-5f), 1e-4f);
    }
  }
}

// Neurons that are known before attention are read then: all misses are early ones, and what is computed is the same.
TEST(DecoderPredictor, ReadsBeforeAttentionWhereItCan) {
  const TinyPackage files({.layers = 3, .predictor = TinyPredictor::kNone});
  std::map<bool, std::vector<float>> logits;
  for (const bool overlap : {false, true}) {
    SpyPredictor spy(PredictorInput::kNormedLayerInput, files.options().ffn_size);
    Rig rig(files, {.spy = &spy, .window = 1, .capacity_rows = 10, .overlap = overlap});
    ASSERT_TRUE(rig.prefill(kPrompt).ok());
    rig.decoder().take_counters();
    for (const int32_t id : {5, 9, 3}) ASSERT_TRUE(rig.step(id).ok());
    const Counters counters = rig.decoder().take_counters();
    EXPECT_GT(counters.misses, 0);
    EXPECT_EQ(counters.early_used, overlap ? counters.misses : 0);
    EXPECT_EQ(counters.early, counters.early_used);
    logits[overlap].resize(files.options().vocab_size);
    ASSERT_TRUE(rig.decoder().logits(logits[overlap]).ok());
  }
  EXPECT_TRUE(same_bits(logits[false], logits[true]));
}

}  // namespace
}  // namespace flashneuron::testing
