// n is selected iff (Bf(Ax))[n] + bias[n] > 0, in fp32: h = f(Ax) by one dot a rank row, then one dot of B[n] and h a
// neuron, each times its row's scale where elements are int8.
#include <algorithm>
#include <array>
#include <cassert>

#include "kernels/weights.h"
#include "package/predictor_file.h"
#include "predictor/neuron_selector.h"
#include "predictor/predictor.h"

namespace flashneuron {
namespace {

// out[i] = row first + i of a matrix times `input`, of at most NeuronSelector::kRange rows.
void multiply(const std::byte* values, const float* scales, const kernels::RowInput& input, size_t first,
              std::span<float> out) {
  const size_t bytes = row_bytes(input.dtype(), input.count());
  std::array<kernels::DotRow, NeuronSelector::kRange> rows;
  for (size_t i = 0; i < out.size(); ++i) {
    const float* scale = scales == nullptr ? nullptr : scales + first + i;
    rows[i] = {{values + (first + i) * bytes, reinterpret_cast<const std::byte*>(scale)}};
  }
  kernels::dot_rows(std::span(rows).first(out.size()), input, out.data());
}

float relu(float value) { return std::max(value, 0.0f); }

class LowRankPredictor final : public Predictor {
 public:
  LowRankPredictor(std::vector<LowRankWeights> layers, PredictorInput input, uint32_t ffn_size, ThreadPool& pool)
      : layers_(std::move(layers)), input_(input), pool_(pool), selector_(ffn_size, pool) {
    uint32_t rank = 0;
    for (const LowRankWeights& layer : layers_) rank = std::max(rank, layer.rank);
    hidden_.resize(rank);
  }

  PredictorInput input() const override { return input_; }

  void select(uint32_t layer, std::span<const float> x, std::vector<uint32_t>& selected) override {
    const LowRankWeights& weights = layers_[layer];
    assert(x.size() == weights.hidden_size);
    kernels::RowInput input(weights.dtype, weights.hidden_size);
    input.set(x.data());
    const size_t ranges = (weights.rank + kRange - 1) / kRange;
    const size_t grain = std::max<size_t>(1, kMinProducts / (kRange * weights.hidden_size));
    pool_.parallel_for(ranges, grain, [&](size_t begin, size_t end) {
      for (size_t first = begin * kRange; first < std::min<size_t>(end * kRange, weights.rank); first += kRange) {
        const size_t count = std::min<size_t>(kRange, weights.rank - first);
        const std::span<float> hidden = std::span(hidden_).subspan(first, count);
        multiply(weights.a(), weights.a_scales(), input, first, hidden);
        if (weights.relu) std::transform(hidden.begin(), hidden.end(), hidden.begin(), relu);
      }
    });
    kernels::RowInput hidden_input(weights.dtype, weights.rank);
    hidden_input.set(hidden_.data());
    const auto activate = [&](uint32_t first, std::span<float> activations) {
      multiply(weights.b(), weights.b_scales(), hidden_input, first, activations);
      for (size_t i = 0; i < activations.size(); ++i) activations[i] += weights.bias()[first + i];
    };
    selector_.select(weights.rank, activate, selected);
  }

  uint64_t resident_bytes() const override {
    uint64_t bytes = 0;
    for (const LowRankWeights& layer : layers_) bytes += layer.file.size();
    return bytes;
  }

 private:
  static constexpr size_t kRange = 8;            // rows of A that a thread takes together
  static constexpr size_t kMinProducts = 16384;  // fewer are not worth a thread

  std::vector<LowRankWeights> layers_;
  PredictorInput input_;
  ThreadPool& pool_;
  NeuronSelector selector_;
  std::vector<float> hidden_;  // f(Ax), [rank]
};

}  // namespace

Result<std::unique_ptr<Predictor>> load_lowrank_predictor(const Package& package, ThreadPool& pool) {
  const Manifest& manifest = package.manifest();
  const auto facts = std::find_if(manifest.predictors.begin(), manifest.predictors.end(),
                                  [](const PredictorFacts& predictor) { return predictor.kind == "lowrank"; });
  if (facts == manifest.predictors.end()) {
    return Status(StatusCode::kUnsupported,
                  "the package has no low-rank predictor: use predictor=none, or export with predictors");
  }
  std::vector<LowRankWeights> layers;
  for (const PredictorLayer& layer : facts->layers) {
    FN_ASSIGN_OR_RETURN(LowRankWeights weights, read_lowrank(package.path_of(layer.file), layer.file));
    if (weights.hidden_size != manifest.model.hidden_size || weights.ffn_size != manifest.model.ffn_size) {
      return Status(StatusCode::kCorrupt, layer.file + ": is of another shape than the model; copy the package again");
    }
    layers.push_back(std::move(weights));
  }
  return std::unique_ptr<Predictor>(
      std::make_unique<LowRankPredictor>(std::move(layers), facts->input, manifest.model.ffn_size, pool));
}

}  // namespace flashneuron
