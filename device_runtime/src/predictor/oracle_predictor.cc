// The neurons that fire, found by computing them: the same test as the FFN's, on a copy of the rows that it takes.
#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <utility>

#include "core/aligned_buffer.h"
#include "kernels/neuron.h"
#include "kernels/weights.h"
#include "package/ffn_shard.h"
#include "package/file_io.h"
#include "package/neuron_lists.h"
#include "predictor/neuron_selector.h"
#include "predictor/predictor.h"

namespace flashneuron {
namespace {

// One row of every neuron.
struct Rows {
  AlignedBuffer values;           // [ffn_size, hidden_size] of the FFN's dtype; empty: not taken by the test
  std::vector<std::byte> scales;  // of each row; empty for floats
};

struct OracleLayer {
  ActivationRule rule;
  Rows gate;
  Rows up;
  std::vector<float> bias;  // [ffn_size], of the up rows
};

class OraclePredictor final : public Predictor {
 public:
  OraclePredictor(std::vector<OracleLayer> layers, const Manifest& manifest, ThreadPool& pool)
      : layers_(std::move(layers)),
        dtype_(manifest.ffn.dtype),
        hidden_size_(manifest.model.hidden_size),
        selector_(manifest.model.ffn_size, pool),
        input_(dtype_, hidden_size_) {}

  PredictorInput input() const override { return PredictorInput::kFfnInput; }

  void select(uint32_t layer, std::span<const float> ffn_input, std::vector<uint32_t>& selected) override {
    assert(ffn_input.size() == hidden_size_);
    const OracleLayer& weights = layers_[layer];
    input_.set(ffn_input.data());
    const auto activate = [&](uint32_t first, std::span<float> activations) {
      std::array<float, NeuronSelector::kRange> gates{};
      std::array<float, NeuronSelector::kRange> ups{};
      multiply(weights.gate, first, std::span(gates).first(activations.size()));
      multiply(weights.up, first, std::span(ups).first(activations.size()));
      for (size_t i = 0; i < activations.size(); ++i) {
        activations[i] = kernels::fires(weights.rule, gates[i], ups[i] + weights.bias[first + i]) ? 1.0f : 0.0f;
      }
    };
    const size_t rows = (weights.gate.values.size() > 0 ? 1 : 0) + (weights.up.values.size() > 0 ? 1 : 0);
    selector_.select(rows * hidden_size_, activate, selected);
  }

  uint64_t resident_bytes() const override {
    uint64_t bytes = 0;
    for (const OracleLayer& layer : layers_) {
      for (const Rows* rows : {&layer.gate, &layer.up}) bytes += rows->values.size() + rows->scales.size();
      bytes += sizeof(float) * layer.bias.size();
    }
    return bytes;
  }

 private:
  // products[i] = row first + i times the input; left alone where there are no rows.
  void multiply(const Rows& of, uint32_t first, std::span<float> products) const {
    if (of.values.size() == 0) return;
    const size_t row = row_bytes(dtype_, hidden_size_);
    const size_t scales = scale_bytes(dtype_, hidden_size_);
    std::array<kernels::DotRow, NeuronSelector::kRange> rows;
    for (size_t i = 0; i < products.size(); ++i) {
      const std::byte* row_scales = scales == 0 ? nullptr : of.scales.data() + (first + i) * scales;
      rows[i] = {{of.values.data() + (first + i) * row, row_scales}};
    }
    kernels::dot_rows(std::span(rows).first(products.size()), input_, products.data());
  }

  std::vector<OracleLayer> layers_;
  DType dtype_;
  size_t hidden_size_;
  NeuronSelector selector_;
  kernels::RowInput input_;
};

// Copies `row_bytes` at `offset` of a shard's record i to row neurons[i] of `rows`, through a buffer of about 1 MiB.
Status copy_rows(const InputFile& shard, std::span<const uint32_t> neurons, size_t stride, size_t offset,
                 size_t row_bytes, std::byte* rows) {
  const auto count = static_cast<uint32_t>(neurons.size());
  const auto at_once = static_cast<uint32_t>(std::max<size_t>(1, (size_t{1} << 20) / stride));
  std::vector<std::byte> records(std::min(at_once, count) * stride);
  for (uint32_t first = 0; first < count; first += at_once) {
    const uint32_t taken = std::min(at_once, count - first);
    FN_RETURN_IF_ERROR(shard.read(kFfnHeaderBytes + first * stride, std::span(records).first(taken * stride)));
    for (uint32_t i = 0; i < taken; ++i) {
      std::memcpy(rows + neurons[first + i] * row_bytes, records.data() + i * stride + offset, row_bytes);
    }
  }
  return {};
}

// Row `number` of a layer's bundles, or the records of `shards` where each row has files of its own.
Result<Rows> load_rows(const Package& package, const FfnVariant& variant, uint32_t layer, uint32_t number,
                       const std::vector<std::string>& shards, std::span<const uint32_t> neurons) {
  const Manifest& manifest = package.manifest();
  const ModelFacts& model = manifest.model;
  const bool bundled = variant.layout == Layout::kBundled;
  const FfnPart part = bundled ? FfnPart::kBundle : FfnPart::kUp;
  const size_t stride = ffn_stride(ffn_record_bytes(part, manifest.ffn.dtype, model.hidden_size, model.gated));
  const size_t row = row_bytes(manifest.ffn.dtype, model.hidden_size);
  Rows rows;
  FN_ASSIGN_OR_RETURN(rows.values, AlignedBuffer::create(model.ffn_size * row));
  uint32_t first = 0;
  for (const std::string& name : bundled ? variant.layers[layer].bundle : shards) {
    const uint32_t count = std::min(variant.neurons_per_shard, model.ffn_size - first);
    FN_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(package.path_of(name)));
    FN_RETURN_IF_ERROR(
        copy_rows(file, neurons.subspan(first, count), stride, bundled ? number * row : 0, row, rows.values.data()));
    first += count;
  }
  if (has_scales(manifest.ffn.dtype)) {
    FN_ASSIGN_OR_RETURN(const std::vector<std::byte> all, package.read(manifest.ffn.scales[layer]));
    const size_t bytes = model.ffn_size * scale_bytes(manifest.ffn.dtype, model.hidden_size);
    if (all.size() < (number + 1) * bytes) {
      return Status(StatusCode::kCorrupt, manifest.ffn.scales[layer] + ": is too short; copy the package again");
    }
    rows.scales.assign(all.begin() + static_cast<ptrdiff_t>(number * bytes),
                       all.begin() + static_cast<ptrdiff_t>((number + 1) * bytes));
  }
  return rows;
}

Result<OracleLayer> load_layer(const Package& package, const FfnVariant& variant, uint32_t layer) {
  const Manifest& manifest = package.manifest();
  const uint32_t ffn_size = manifest.model.ffn_size;
  FN_ASSIGN_OR_RETURN(const std::vector<uint32_t> places, read_places(package, variant, layer));
  std::vector<uint32_t> neurons(ffn_size);  // by place
  for (uint32_t neuron = 0; neuron < ffn_size; ++neuron) neurons[places.empty() ? neuron : places[neuron]] = neuron;

  OracleLayer result{.rule = manifest.model.rule(layer), .gate = {}, .up = {}, .bias = {}};
  const FfnLayerFiles& files = variant.layers[layer];
  if (kernels::tests_gate(result.rule)) {
    FN_ASSIGN_OR_RETURN(result.gate, load_rows(package, variant, layer, 0, files.gate, neurons));
  }
  if (kernels::tests_up(result.rule)) {
    const uint32_t number = result.rule.gated ? 1 : 0;
    FN_ASSIGN_OR_RETURN(result.up, load_rows(package, variant, layer, number, files.up, neurons));
  }
  const std::string& bias_name = manifest.ffn.bias[layer];
  FN_ASSIGN_OR_RETURN(const std::vector<std::byte> bias, package.read(bias_name));
  result.bias.resize(ffn_size);
  if (bias.size() < sizeof(float) * ffn_size) {
    return Status(StatusCode::kCorrupt, bias_name + ": is shorter than its biases; copy the package again");
  }
  std::memcpy(result.bias.data(), bias.data(), sizeof(float) * ffn_size);
  return result;
}

}  // namespace

Result<std::unique_ptr<Predictor>> load_oracle_predictor(const Package& package, const FfnVariant& variant,
                                                         ThreadPool& pool) {
  std::vector<OracleLayer> layers;
  for (uint32_t layer = 0; layer < package.manifest().model.layers; ++layer) {
    FN_ASSIGN_OR_RETURN(OracleLayer loaded, load_layer(package, variant, layer));
    layers.push_back(std::move(loaded));
  }
  return std::unique_ptr<Predictor>(std::make_unique<OraclePredictor>(std::move(layers), package.manifest(), pool));
}

}  // namespace flashneuron
