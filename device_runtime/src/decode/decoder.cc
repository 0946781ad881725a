#include "decode/decoder.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "telemetry/trace.h"

namespace flashneuron {
namespace {

// FORMAT.md, "predictor", normed_layer_input.
void normalise(std::span<float> row) {
  constexpr double kEpsilon = 1e-5;
  const double mean = std::accumulate(row.begin(), row.end(), 0.0) / static_cast<double>(row.size());
  double variance = 0;
  for (const float value : row) variance += (value - mean) * (value - mean);
  variance /= static_cast<double>(row.size());
  const double scale = 1.0 / std::sqrt(variance + kEpsilon);
  for (float& value : row) value = static_cast<float>((value - mean) * scale);
}

}  // namespace

Decoder::Decoder(const DecoderParts& parts)
    : parts_(parts),
      residual_(size_t{parts.attention.max_chunk()} * parts.model.hidden_size),
      ffn_input_(residual_.size()),
      ffn_out_(residual_.size()),
      layer_input_(before_attention(predictor_input()) ? residual_.size() : 0),
      chunks_(parts.model.layers),
      layers_(parts.model.layers),
      meters_(parts.model.layers, SelectionMeter(parts.model.ffn_size)) {}

uint64_t Decoder::buffer_bytes(const ModelFacts& model, uint32_t max_chunk, PredictorInput input) {
  const uint64_t buffers = before_attention(input) ? 4 : 3;
  return buffers * sizeof(float) * uint64_t{max_chunk} * model.hidden_size;
}

uint64_t Decoder::verify_bytes(const ModelFacts& model) {
  return sizeof(uint32_t) * uint64_t{model.ffn_size} * (2 * (model.layers + 1) + 1);
}

Status Decoder::prefill(std::span<const int32_t> ids) {
  const size_t chunk = parts_.attention.max_chunk();
  // The short piece comes first, so that the last chunk has as many tokens to seed the window from as it can.
  size_t count = ids.size() % chunk == 0 ? std::min(chunk, ids.size()) : ids.size() % chunk;
  while (!ids.empty()) {
    FN_RETURN_IF_ERROR(forward(ids.first(count), count == ids.size() ? Pass::kEndOfPrompt : Pass::kPrompt));
    ids = ids.subspan(count);
    count = std::min(chunk, ids.size());
  }
  return {};
}

Status Decoder::step(int32_t id) { return forward({&id, 1}, Pass::kStep); }

Status Decoder::verify(std::span<const int32_t> ids) {
  selecting_.resize(parts_.model.ffn_size);
  return forward(ids, Pass::kVerify);
}

void Decoder::keep(size_t count) {
  position_ -= static_cast<uint32_t>(last_tokens_ - count);
  for (uint32_t layer = 0; layer < parts_.model.layers; ++layer) {
    Counters counters;
    parts_.ffn.settle(layer, chunk(layer), count, counters);
    layers_[layer] += counters;
    token_ += counters;
    token_.wall_us += counters.memory_us;
  }
}

Status Decoder::forward(std::span<const int32_t> ids, Pass pass) {
  ScopedTimer wall(token_.wall_us);
  const int64_t busy_before_us = parts_.queue.busy_us();
  const size_t tokens = ids.size();
  const size_t hidden = parts_.model.hidden_size;
  SpanTrack* const spans = parts_.queue.spans();
  {
    const ScopedSpan span(spans, SpanKind::kEmbed);
    FN_RETURN_IF_ERROR(parts_.embedding.embed(ids, position_, std::span(residual_).first(tokens * hidden), token_));
  }
  std::fill_n(ffn_out_.begin(), tokens * hidden, 0.0f);

  for (uint32_t layer = 0; layer < parts_.model.layers; ++layer) {
    Counters counters;
    const int64_t layer_busy_us = parts_.queue.busy_us();
    {
      const TimedSpan layer_wall(spans, SpanKind::kLayer, counters.wall_us, layer);
      if (parts_.naive != nullptr) FN_RETURN_IF_ERROR((*parts_.naive)[layer].read_all(counters));
      if (!layer_input_.empty()) FN_RETURN_IF_ERROR(enter(layer, tokens, pass, counters));
      {
        const TimedSpan span(spans, SpanKind::kAttention, counters.attention_us);
        FN_RETURN_IF_ERROR(parts_.attention.layer(layer, position_, static_cast<uint32_t>(tokens), residual_.data(),
                                                  ffn_out_.data(), parts_.kv, residual_.data(), ffn_input_.data()));
      }
      FN_RETURN_IF_ERROR(ffn(layer, tokens, pass, counters));
    }
    counters.io_us = parts_.queue.busy_us() - layer_busy_us;
    layers_[layer] += counters;
    counters.wall_us = counters.io_us = 0;  // the token's are measured whole
    token_ += counters;
    if (observer_) {
      std::vector<float> sum(residual_.begin() + (tokens - 1) * hidden, residual_.begin() + tokens * hidden);
      for (size_t i = 0; i < hidden; ++i) sum[i] += ffn_out_[(tokens - 1) * hidden + i];
      observer_(layer, sum);
    }
  }
  if (parts_.naive != nullptr) FN_RETURN_IF_ERROR(parts_.naive->back().read_all(token_));
  token_.io_us += parts_.queue.busy_us() - busy_before_us;
  position_ += static_cast<uint32_t>(tokens);
  last_tokens_ = tokens;
  return {};
}

PredictorInput Decoder::predictor_input() const {
  return parts_.predictor == nullptr ? PredictorInput::kFfnInput : parts_.predictor->input();
}

const std::vector<float>& Decoder::predictor_rows() const {
  switch (predictor_input()) {
    case PredictorInput::kFfnInput:
      return ffn_input_;
    case PredictorInput::kResidual:
      return residual_;
    case PredictorInput::kLayerInput:
    case PredictorInput::kNormedLayerInput:
      break;
  }
  return layer_input_;
}

void Decoder::select(uint32_t layer, uint32_t of_layer, size_t token, std::vector<uint32_t>& selected,
                     Counters& counters) {
  const size_t hidden = parts_.model.hidden_size;
  const SpanKind kind = of_layer == layer ? SpanKind::kPredict : SpanKind::kPredictNext;
  const TimedSpan span(parts_.queue.spans(), kind, counters.predictor_us);
  parts_.predictor->select(of_layer, std::span(predictor_rows()).subspan(token * hidden, hidden), selected);
}

Status Decoder::enter(uint32_t layer, size_t tokens, Pass pass, Counters& counters) {
  const size_t hidden = parts_.model.hidden_size;
  std::transform(residual_.begin(), residual_.begin() + tokens * hidden, ffn_out_.begin(), layer_input_.begin(),
                 std::plus<>());
  if (predictor_input() == PredictorInput::kNormedLayerInput) {
    for (size_t token = 0; token < tokens; ++token) {
      normalise(std::span(layer_input_).subspan(token * hidden, hidden));
    }
  }
  std::span<const uint32_t> selected;
  if (pass == Pass::kVerify) {
    select_chunk(layer, layer, tokens, chunk(layer), counters);
    selected = chunk(layer).neurons;
  } else if (pass == Pass::kStep) {
    select(layer, layer, 0, selected_, counters);
    selected = selected_;
  } else {
    return {};
  }
  return parts_.ffn.wants_early(layer) ? parts_.ffn.read_early(layer, selected, counters) : Status();
}

Status Decoder::ffn(uint32_t layer, size_t tokens, Pass pass, Counters& counters) {
  const ThreadPool::Awake awake(parts_.pool);
  const size_t hidden = parts_.model.hidden_size;
  const std::span<const float> input = std::span(ffn_input_).first(tokens * hidden);
  const std::span<float> out = std::span(ffn_out_).first(tokens * hidden);
  if (pass == Pass::kVerify) return verify_ffn(layer, tokens, counters);
  const bool entered = !layer_input_.empty();
  if (pass == Pass::kStep && parts_.predictor != nullptr) {
    if (!entered) select(layer, layer, 0, selected_, counters);
    meters_[layer].touch(selected_);
    FN_RETURN_IF_ERROR(parts_.ffn.begin(layer, input, selected_, counters));
    if (!entered && parts_.ffn.wants_early(layer + 1)) {
      // Neighbouring layers see similar rows (the residual stream changes slowly), so this one foretells the next.
      select(layer, layer + 1, 0, early_, counters);
      FN_RETURN_IF_ERROR(parts_.ffn.read_early(layer + 1, early_, counters));
    }
    return parts_.ffn.finish(out, counters);
  }
  if (pass != Pass::kEndOfPrompt || parts_.predictor == nullptr) {
    return parts_.ffn.dense(layer, input, tokens, out, counters);
  }
  size_t token = tokens;
  const FfnStage::Selections newest_first = [&]() -> std::optional<std::span<const uint32_t>> {
    if (token == 0) return std::nullopt;
    select(layer, layer, --token, selected_, counters);
    return selected_;
  };
  return parts_.ffn.dense_and_seed(layer, input, tokens, newest_first, out, counters);
}

Status Decoder::verify_ffn(uint32_t layer, size_t tokens, Counters& counters) {
  const size_t floats = tokens * parts_.model.hidden_size;
  const bool entered = !layer_input_.empty();
  if (!entered) select_chunk(layer, layer, tokens, chunk(layer), counters);
  FN_RETURN_IF_ERROR(parts_.ffn.begin(layer, std::span(ffn_input_).first(floats), tokens, chunk(layer), counters));
  if (!entered && parts_.ffn.wants_early(layer + 1)) {
    select_chunk(layer, layer + 1, tokens, early_chunk_, counters);
    FN_RETURN_IF_ERROR(parts_.ffn.read_early(layer + 1, early_chunk_.neurons, counters));
  }
  return parts_.ffn.finish(std::span(ffn_out_).first(floats), counters);
}

void Decoder::select_chunk(uint32_t layer, uint32_t of_layer, size_t tokens, ChunkSelection& selected,
                           Counters& counters) {
  selected.neurons.clear();
  selected.tokens.clear();
  if (parts_.predictor == nullptr) {
    selected.neurons.resize(parts_.model.ffn_size);
    std::iota(selected.neurons.begin(), selected.neurons.end(), 0u);
    selected.tokens.assign(parts_.model.ffn_size, ~uint32_t{0} >> (kMostVerified - tokens));
    return;
  }
  for (size_t token = 0; token < tokens; ++token) {
    select(layer, of_layer, token, selected_, counters);
    for (const uint32_t neuron : selected_) selecting_[neuron] |= uint32_t{1} << token;
  }
  for (uint32_t neuron = 0; neuron < selecting_.size(); ++neuron) {
    if (selecting_[neuron] == 0) continue;
    selected.neurons.push_back(neuron);
    selected.tokens.push_back(std::exchange(selecting_[neuron], 0));
  }
}

Status Decoder::logits(size_t token, std::span<float> out) {
  ScopedTimer wall(token_.wall_us);
  const TimedSpan head(parts_.queue.spans(), SpanKind::kHead, token_.head_us);
  const size_t row = token * parts_.model.hidden_size;
  return parts_.attention.head(residual_.data() + row, ffn_out_.data() + row, out);
}

Counters Decoder::take_counters() { return std::exchange(token_, Counters{}); }

void Decoder::clear_layer_counters() {
  std::fill(layers_.begin(), layers_.end(), Counters{});
  for (SelectionMeter& meter : meters_) meter.clear();
}

}  // namespace flashneuron
