#include "attention/fake_attention.h"

#include <cmath>

#include "attention/attention_math.h"

namespace flashneuron {
namespace {

// A weight in [-1, 1] that tells its two indices apart.
float mix(uint32_t row, uint32_t column) {
  return std::sin(0.7f * static_cast<float>(row + 1) + 1.3f * static_cast<float>(column * (row % 7 + 1)));
}

void normalise(const float* x, uint32_t count, float* y) {
  float square = 0;
  for (uint32_t i = 0; i < count; ++i) square += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(square / static_cast<float>(count) + 1e-6f);
  for (uint32_t i = 0; i < count; ++i) y[i] = x[i] * scale;
}

}  // namespace

Status FakeAttention::layer(uint32_t layer, uint32_t position, uint32_t tokens, const float* residual,
                            const float* ffn_out, KvCache& kv, float* residual_out, float* ffn_input) {
  if (tokens == 0 || tokens > max_chunk_ || position + tokens > kv.capacity()) {
    return {StatusCode::kInternal, "fake attention: " + std::to_string(tokens) + " tokens at position " +
                                       std::to_string(position) + " do not fit"};
  }
  const uint32_t hidden = model_.hidden_size;
  const uint32_t kv_size = model_.kv_size();
  std::vector<float> input(size_t{tokens} * hidden);
  std::vector<float> q(input.size());
  std::vector<float> k(size_t{tokens} * kv_size);
  std::vector<float> v(k.size());
  for (uint32_t t = 0; t < tokens; ++t) {
    float* x = &input[size_t{t} * hidden];
    for (uint32_t i = 0; i < hidden; ++i) x[i] = residual[size_t{t} * hidden + i] + ffn_out[size_t{t} * hidden + i];
    float* query = &q[size_t{t} * hidden];
    normalise(x, hidden, query);
    for (uint32_t i = 0; i < kv_size; ++i) {
      k[size_t{t} * kv_size + i] = query[(i + layer) % hidden];
      v[size_t{t} * kv_size + i] = query[(i + layer + 1) % hidden] + mix(layer, position + t);
    }
    for (uint32_t i = 0; i < hidden; ++i) query[i] /= std::sqrt(static_cast<float>(model_.head_size));
  }

  kv.append(layer, position, tokens, k.data(), v.data());
  const AttentionCall call{
      .heads = model_.heads,
      .row = kv.row(),
      .tokens = tokens,
      .position = position,
      .q = q.data(),
      .keys = kv.keys(layer),
      .values = kv.values(layer),
      .new_keys = kv.keys(layer) + size_t{position} * kv.row_bytes(),
      .new_values = kv.values(layer) + size_t{position} * kv.row_bytes(),
  };
  std::vector<float> mixed(input.size());
  attend(call, 0, size_t{tokens} * model_.heads, mixed.data());

  for (size_t i = 0; i < input.size(); ++i) residual_out[i] = input[i] + mixed[i];
  for (uint32_t t = 0; t < tokens; ++t) {
    normalise(residual_out + size_t{t} * hidden, hidden, ffn_input + size_t{t} * hidden);
  }
  return {};
}

Status FakeAttention::head(const float* residual, const float* ffn_out, std::span<float> logits) {
  for (uint32_t id = 0; id < logits.size(); ++id) {
    float logit = 0;
    for (uint32_t i = 0; i < model_.hidden_size; ++i) logit += mix(id, i) * (residual[i] + ffn_out[i]);
    logits[id] = logit;
  }
  return {};
}

}  // namespace flashneuron
