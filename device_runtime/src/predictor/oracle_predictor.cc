// The neurons that fire, found by computing them: the same activation as the FFN's, on a copy of all up rows.
#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "core/aligned_buffer.h"
#include "kernels/neuron.h"
#include "package/ffn_shard.h"
#include "package/file_io.h"
#include "package/neuron_lists.h"
#include "predictor/neuron_selector.h"
#include "predictor/predictor.h"

namespace flashneuron {
namespace {

struct OracleLayer {
  AlignedBuffer up;               // [ffn_size, hidden_size] of the FFN's dtype
  std::vector<std::byte> scales;  // of each up row, then others; empty for floats
  std::vector<float> bias;        // [ffn_size]
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
    const std::byte* up = weights.up.data();
    const size_t row = row_bytes(dtype_, hidden_size_);
    const size_t scales = scale_bytes(dtype_, hidden_size_);
    input_.set(ffn_input.data());
    const auto activate = [&](uint32_t first, std::span<float> activations) {
      std::array<kernels::DotRow, NeuronSelector::kRange> rows;
      for (size_t i = 0; i < activations.size(); ++i) {
        const std::byte* row_scales = scales == 0 ? nullptr : weights.scales.data() + (first + i) * scales;
        rows[i] = {{up + (first + i) * row, row_scales}};
      }
      kernels::dot_rows(std::span(rows).first(activations.size()), input_, activations.data());
      for (size_t i = 0; i < activations.size(); ++i) {
        activations[i] = kernels::relu_activation(activations[i], weights.bias[first + i]);
      }
    };
    selector_.select(hidden_size_, activate, selected);
  }

  uint64_t resident_bytes() const override {
    uint64_t bytes = 0;
    for (const OracleLayer& layer : layers_) {
      bytes += layer.up.size() + layer.scales.size() + sizeof(float) * layer.bias.size();
    }
    return bytes;
  }

 private:
  std::vector<OracleLayer> layers_;
  DType dtype_;
  size_t hidden_size_;
  NeuronSelector selector_;
  kernels::RowInput input_;
};

// Copies the first row_bytes of a shard's record i to row neurons[i] of `rows`, through a buffer of about 1 MiB.
Status copy_up_rows(const InputFile& shard, std::span<const uint32_t> neurons, size_t stride, size_t row_bytes,
                    std::byte* rows) {
  const auto count = static_cast<uint32_t>(neurons.size());
  const auto at_once = static_cast<uint32_t>(std::max<size_t>(1, (size_t{1} << 20) / stride));
  std::vector<std::byte> records(std::min(at_once, count) * stride);
  for (uint32_t first = 0; first < count; first += at_once) {
    const uint32_t taken = std::min(at_once, count - first);
    FN_RETURN_IF_ERROR(shard.read(kFfnHeaderBytes + first * stride, std::span(records).first(taken * stride)));
    for (uint32_t i = 0; i < taken; ++i) {
      std::memcpy(rows + neurons[first + i] * row_bytes, records.data() + i * stride, row_bytes);
    }
  }
  return {};
}

Result<OracleLayer> load_layer(const Package& package, const FfnVariant& variant, uint32_t layer) {
  const Manifest& manifest = package.manifest();
  const uint32_t ffn_size = manifest.model.ffn_size;
  const bool bundled = variant.layout == Layout::kBundled;
  const FfnPart part = bundled ? FfnPart::kBundle : FfnPart::kUp;
  const std::vector<std::string>& shards = bundled ? variant.layers[layer].bundle : variant.layers[layer].up;
  const size_t stride = ffn_stride(ffn_record_bytes(part, manifest.ffn.dtype, manifest.model.hidden_size));
  const size_t row = row_bytes(manifest.ffn.dtype, manifest.model.hidden_size);

  FN_ASSIGN_OR_RETURN(const std::vector<uint32_t> places, read_places(package, variant, layer));
  std::vector<uint32_t> neurons(ffn_size);  // by place
  for (uint32_t neuron = 0; neuron < ffn_size; ++neuron) neurons[places.empty() ? neuron : places[neuron]] = neuron;

  OracleLayer result;
  FN_ASSIGN_OR_RETURN(result.up, AlignedBuffer::create(ffn_size * row));
  uint32_t first = 0;
  for (const std::string& name : shards) {
    const uint32_t count = std::min(variant.neurons_per_shard, ffn_size - first);
    FN_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(package.path_of(name)));
    FN_RETURN_IF_ERROR(copy_up_rows(file, std::span(neurons).subspan(first, count), stride, row, result.up.data()));
    first += count;
  }
  if (has_scales(manifest.ffn.dtype)) {
    FN_ASSIGN_OR_RETURN(result.scales, package.read(manifest.ffn.scales[layer]));
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
