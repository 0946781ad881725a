// n is selected iff (B(Ax))[n] + bias[n] > 0, in fp32: h = Ax by one dot a rank row, then one dot of B[n] and h a
// neuron, each times its row's scale where elements are int8.
#include <algorithm>
#include <cassert>

#include "kernels/weights.h"
#include "package/predictor_file.h"
#include "predictor/neuron_selector.h"
#include "predictor/predictor.h"

namespace flashneuron {
namespace {

kernels::WeightRow row_of(const std::byte* values, const float* scales, size_t index) {
  return {values, scales == nullptr ? nullptr : reinterpret_cast<const std::byte*>(scales + index)};
}

class LowRankPredictor final : public Predictor {
 public:
  LowRankPredictor(std::vector<LowRankWeights> layers, uint32_t ffn_size, ThreadPool& pool)
      : layers_(std::move(layers)), pool_(pool), selector_(ffn_size, pool) {
    uint32_t rank = 0;
    for (const LowRankWeights& layer : layers_) rank = std::max(rank, layer.rank);
    hidden_.resize(rank);
  }

  void select(uint32_t layer, std::span<const float> ffn_input, std::vector<uint32_t>& selected) override {
    const LowRankWeights& weights = layers_[layer];
    assert(ffn_input.size() == weights.hidden_size);
    const std::byte* a = weights.a();
    const size_t a_row = row_bytes(weights.dtype, weights.hidden_size);
    const size_t grain = std::max<size_t>(1, kMinProducts / weights.hidden_size);
    pool_.parallel_for(weights.rank, grain, [&](size_t begin, size_t end) {
      for (size_t r = begin; r < end; ++r) {
        hidden_[r] = kernels::dot_row(row_of(a + r * a_row, weights.a_scales(), r), weights.dtype, ffn_input.data(),
                                      weights.hidden_size);
      }
    });
    const std::byte* b = weights.b();
    const size_t b_row = row_bytes(weights.dtype, weights.rank);
    const float* bias = weights.bias();
    const auto fires = [&](uint32_t neuron) {
      const kernels::WeightRow row = row_of(b + neuron * b_row, weights.b_scales(), neuron);
      return kernels::dot_row(row, weights.dtype, hidden_.data(), weights.rank) + bias[neuron] > 0;
    };
    selector_.select(weights.rank, fires, selected);
  }

  uint64_t resident_bytes() const override {
    uint64_t bytes = 0;
    for (const LowRankWeights& layer : layers_) bytes += layer.file.size();
    return bytes;
  }

 private:
  static constexpr size_t kMinProducts = 16384;  // fewer are not worth a thread

  std::vector<LowRankWeights> layers_;
  ThreadPool& pool_;
  NeuronSelector selector_;
  std::vector<float> hidden_;  // Ax, [rank]
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
  if (facts->input != "ffn_input") {
    return Status(StatusCode::kUnsupported, "the predictor takes '" + facts->input + "', supported is ffn_input");
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
      std::make_unique<LowRankPredictor>(std::move(layers), manifest.model.ffn_size, pool));
}

}  // namespace flashneuron
