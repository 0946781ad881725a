#include "attention/npu_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/fp16.h"

namespace flashneuron {
namespace {

constexpr uint32_t kHidden = 8;
constexpr uint32_t kChunk = 4;

ModelFacts tiny_model() {
  ModelFacts model;
  model.layers = 2;
  model.hidden_size = kHidden;
  model.heads = 2;
  model.kv_heads = 1;
  model.head_size = 4;
  model.vocab_size = 10;
  return model;
}

AttentionFacts tiny_facts() {
  AttentionFacts facts;
  facts.backend = "qnn-sm8650";
  facts.max_chunk = kChunk;
  facts.layers = {"a", "a"};
  facts.contexts = {6, 16};
  return facts;
}

float half_to_float(const std::byte* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return kernels::half_to_float(bits);
}

// Attention over every row and token that its shape has, as a static graph computes it: only the mask says what counts.
// Queries are the layer's input, keys and values its first half plus the layer's number.
class MaskedGraphs final : public StaticGraphs {
 public:
  struct Run {
    uint32_t layer, tokens, context;
    bool operator==(const Run&) const = default;
  };

  Result<StaticOutputs> run(uint32_t layer, uint32_t tokens, uint32_t context, const StaticCall& call) override {
    runs.push_back({layer, tokens, context});
    residual_.assign(tokens * kHidden, 0);
    ffn_input_ = residual_;
    k_.assign(tokens * 4, 0);
    for (uint32_t t = 0; t < tokens; ++t) {
      for (uint32_t i = 0; i < kHidden; ++i) {
        residual_[t * kHidden + i] = call.residual[t * kHidden + i] + call.ffn_out[t * kHidden + i];
      }
      for (uint32_t i = 0; i < 4; ++i) k_[t * 4 + i] = rounded(residual_[t * kHidden + i] + static_cast<float>(layer));
    }
    for (uint32_t t = 0; t < tokens; ++t) {
      for (uint32_t head = 0; head < 2; ++head) {
        const float* q = residual_.data() + t * kHidden + head * 4;
        double sum = 0;
        double mixed[4] = {};
        for (uint32_t row = 0; row < context + tokens; ++row) {
          double score = call.mask[t * (context + tokens) + row];
          double value[4];
          for (uint32_t i = 0; i < 4; ++i) {
            value[i] = row < context ? half_to_float(call.keys + (row * 4 + i) * 2) : k_[(row - context) * 4 + i];
            score += value[i] * q[i];
          }
          sum += std::exp(score);
          for (uint32_t i = 0; i < 4; ++i) mixed[i] += std::exp(score) * value[i];
        }
        for (uint32_t i = 0; i < 4; ++i) ffn_input_[t * kHidden + head * 4 + i] = static_cast<float>(mixed[i] / sum);
      }
    }
    return StaticOutputs{residual_.data(), ffn_input_.data(), k_.data(), k_.data()};
  }
  Status head(const float*, const float*, std::span<float>) override { return {}; }

  std::vector<Run> runs;

 private:
  static float rounded(float value) { return kernels::half_to_float(kernels::float_to_half(value)); }

  std::vector<float> residual_, ffn_input_, k_;
};

struct Fixture {
  explicit Fixture(uint32_t context) : kv(KvCache::create(2, cache_rows(facts, context), {1, 4, KvType::kFp16})) {
    auto owned = std::make_unique<MaskedGraphs>();
    graphs = owned.get();
    attention = std::make_unique<NpuAttention>(tiny_model(), facts, std::move(owned));
  }

  // ffn_input of layer 1 for `input` [tokens, hidden], cut into calls of these sizes.
  std::vector<float> run(const std::vector<float>& input, const std::vector<uint32_t>& cuts) {
    std::vector<float> found(input.size());
    uint32_t position = 0;
    for (const uint32_t tokens : cuts) {
      const auto from = input.begin() + position * kHidden;
      std::vector<float> residual(from, from + tokens * kHidden), ffn_out(residual.size(), 0.5f);
      for (uint32_t layer = 0; layer < 2; ++layer) {
        const Status status = attention->layer(layer, position, tokens, residual.data(), ffn_out.data(), kv.value(),
                                               residual.data(), found.data() + position * kHidden);
        EXPECT_TRUE(status.ok()) << status.message();
      }
      position += tokens;
    }
    return found;
  }

  AttentionFacts facts = tiny_facts();
  Result<KvCache> kv;
  MaskedGraphs* graphs = nullptr;
  std::unique_ptr<NpuAttention> attention;
};

std::vector<float> random_rows(uint32_t tokens) {
  std::mt19937 random(5);
  std::vector<float> values(tokens * kHidden);
  for (float& value : values) value = static_cast<float>(random() % 2000) / 1000 - 1;
  return values;
}

TEST(NpuAttention, CutsAndContextsGiveTheSameNumbers) {
  const std::vector<float> input = random_rows(14);
  const std::vector<float> expected = Fixture(14).run(input, std::vector<uint32_t>(14, 1));
  for (const std::vector<uint32_t>& cuts :
       {std::vector<uint32_t>{4, 4, 4, 2}, {2, 4, 4, 4}, {3, 1, 1, 4, 3, 2}, {4, 4, 1, 1, 1, 1, 1, 1}}) {
    const std::vector<float> found = Fixture(14).run(input, cuts);
    for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-5) << i;
  }
}

TEST(NpuAttention, TakesTheSmallestGraphThatHoldsTheRowsBefore) {
  Fixture fixture(16);
  fixture.run(random_rows(12), {4, 1, 1, 1, 3, 2});
  std::vector<MaskedGraphs::Run> expected;
  for (const auto& [tokens, context] :
       {std::pair<uint32_t, uint32_t>{4, 6}, {1, 6}, {1, 6}, {1, 6}, {4, 16}, {4, 16}}) {
    for (uint32_t layer = 0; layer < 2; ++layer) expected.push_back({layer, tokens, context});
  }
  EXPECT_EQ(fixture.graphs->runs, expected);
}

TEST(NpuAttention, ACacheHasTheRowsOfAGraph) {
  EXPECT_EQ(cache_rows(tiny_facts(), 1), 6u);
  EXPECT_EQ(cache_rows(tiny_facts(), 6), 6u);
  EXPECT_EQ(cache_rows(tiny_facts(), 7), 16u);
  EXPECT_EQ(cache_rows(AttentionFacts{}, 7), 7u);
}

TEST(NpuAttention, RefusesWhatDoesNotFit) {
  Fixture fixture(6);
  std::vector<float> row(5 * kHidden, 0.0f), out(row.size());
  const auto call = [&](uint32_t position, uint32_t tokens) {
    return fixture.attention->layer(0, position, tokens, row.data(), row.data(), fixture.kv.value(), out.data(),
                                    out.data());
  };
  EXPECT_EQ(call(0, 5).code(), StatusCode::kInternal);  // more than a chunk
  EXPECT_EQ(call(0, 0).code(), StatusCode::kInternal);
  EXPECT_EQ(call(4, 3).code(), StatusCode::kInternal);   // beyond the cache
  EXPECT_EQ(call(7, 1).code(), StatusCode::kInternal);   // needs a graph of 16 rows, the cache has 6
  EXPECT_EQ(call(17, 1).code(), StatusCode::kInternal);  // no graph
  EXPECT_TRUE(call(3, 3).ok());
}

}  // namespace
}  // namespace flashneuron
