#include "attention/fake_attention.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace flashneuron {
namespace {

ModelFacts tiny_model() {
  ModelFacts model;
  model.layers = 2;
  model.hidden_size = 16;
  model.heads = 4;
  model.kv_heads = 2;
  model.head_size = 4;
  model.vocab_size = 10;
  return model;
}

// ffn_input of layer 1 for every token, cutting them into chunks of `chunk`.
std::vector<float> run(uint32_t chunk, const std::vector<float>& input, KvType type) {
  const ModelFacts model = tiny_model();
  FakeAttention attention(model, 8);
  const auto tokens = static_cast<uint32_t>(input.size() / model.hidden_size);
  Result<KvCache> kv = KvCache::create(model.layers, tokens, {model.kv_heads, model.head_size, type});
  EXPECT_TRUE(kv.ok());
  std::vector<float> outputs(input.size());
  for (uint32_t position = 0; position < tokens; position += chunk) {
    const uint32_t count = std::min(chunk, tokens - position);
    const size_t offset = size_t{position} * model.hidden_size;
    std::vector<float> residual(input.begin() + offset, input.begin() + offset + count * model.hidden_size);
    std::vector<float> ffn_out(residual.size(), 0.0f);
    for (uint32_t layer = 0; layer < model.layers; ++layer) {
      EXPECT_TRUE(attention
                      .layer(layer, position, count, residual.data(), ffn_out.data(), kv.value(), residual.data(),
                             outputs.data() + offset)
                      .ok());
      std::copy_n(outputs.begin() + offset, ffn_out.size(), ffn_out.begin());
    }
  }
  return outputs;
}

std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = std::cos(static_cast<float>(i) * 0.9f);
  return values;
}

TEST(FakeAttention, ChunksDoNotChangeABit) {
  const std::vector<float> input = ramp(7 * 16);
  for (KvType type : {KvType::kFp32, KvType::kFp16, KvType::kInt8}) {
    EXPECT_EQ(run(1, input, type), run(7, input, type));
    EXPECT_EQ(run(3, input, type), run(7, input, type));
  }
}

TEST(FakeAttention, LaterTokensSeeEarlierOnes) {
  std::vector<float> input = ramp(5 * 16);
  const std::vector<float> before = run(5, input, KvType::kFp32);
  input[0] += 1;
  const std::vector<float> after = run(5, input, KvType::kFp32);
  EXPECT_NE(before.back(), after.back());
}

TEST(FakeAttention, RefusesTokensThatDoNotFit) {
  const ModelFacts model = tiny_model();
  FakeAttention attention(model, 4);
  Result<KvCache> kv = KvCache::create(2, 6, {model.kv_heads, model.head_size, KvType::kFp32});
  ASSERT_TRUE(kv.ok());
  std::vector<float> x(8 * 16);
  EXPECT_FALSE(attention.layer(0, 0, 5, x.data(), x.data(), kv.value(), x.data(), x.data()).ok());
  EXPECT_FALSE(attention.layer(0, 3, 4, x.data(), x.data(), kv.value(), x.data(), x.data()).ok());
}

TEST(FakeAttention, LogitsTellTokensApart) {
  FakeAttention attention(tiny_model(), 4);
  const std::vector<float> x = ramp(16);
  const std::vector<float> zeros(16, 0.0f);
  std::vector<float> logits(10);
  ASSERT_TRUE(attention.head(x.data(), zeros.data(), logits).ok());
  for (size_t i = 1; i < logits.size(); ++i) EXPECT_NE(logits[i], logits[0]);
}

}  // namespace
}  // namespace flashneuron
