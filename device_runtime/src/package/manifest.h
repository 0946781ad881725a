// manifest.json as structs. FORMAT.md is the specification; names are its names.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/activation.h"
#include "core/dtype.h"
#include "flashneuron/options.h"
#include "flashneuron/status.h"

namespace flashneuron {

struct ModelFacts {
  std::string family;
  Activation activation = Activation::kRelu;
  bool gated = false;
  ThresholdOn threshold_on = ThresholdOn::kGate;
  std::vector<float> thresholds;  // by layer, of fatrelu and silu; else empty
  uint32_t layers = 0;
  uint32_t hidden_size = 0;
  uint32_t ffn_size = 0;
  uint32_t heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_size = 0;
  uint32_t vocab_size = 0;
  uint32_t max_context = 0;
  std::vector<int32_t> eos_token_ids;

  uint32_t kv_size() const { return kv_heads * head_size; }
  ActivationRule rule(uint32_t layer) const {
    return {activation, gated, threshold_on, thresholds.empty() ? 0 : thresholds[layer]};
  }
};

struct EmbeddingFacts {
  std::string file;
  DType dtype = DType::kFp32;
  uint32_t position_rows = 0;
};

struct AttentionFacts {
  std::string backend;
  std::string dtype;
  uint32_t max_chunk = 0;
  std::vector<std::string> layers;  // by layer; of an NPU neighbours may share a file
  std::string head;
  std::vector<uint32_t> contexts;  // of an NPU: cache rows of its static graphs, ascending; else empty
  bool weight_sharing = false;     // of an NPU: among the graphs of a layer
  std::string sdk;                 // of an NPU: version of the SDK that compiled them

  bool is_npu() const { return !contexts.empty(); }
};

// Shard files of one layer, in order of places. `bundle` for the bundled layout, (`gate`,) `up` and `down` for split.
struct FfnLayerFiles {
  std::vector<std::string> bundle;
  std::vector<std::string> gate;
  std::vector<std::string> up;
  std::vector<std::string> down;

  // By part, in the order of a bundle's rows; those that the layout does not have are empty.
  std::array<const std::vector<std::string>*, 4> parts() const { return {&bundle, &gate, &up, &down}; }
};

struct FfnVariant {
  Layout layout = Layout::kBundled;
  Order order = Order::kNone;
  uint32_t neurons_per_shard = 0;
  std::vector<FfnLayerFiles> layers;
  std::vector<std::string> places;  // one file a layer; empty: each neuron lies at its index
};

struct FfnFacts {
  DType dtype = DType::kFp32;
  std::vector<std::string> bias;
  std::vector<std::string> frequency;  // one file a layer; empty: unknown
  std::vector<std::string> scales;     // empty for floats
  std::vector<FfnVariant> variants;
};

struct PredictorLayer {
  std::string file;
  uint32_t rank = 0;
  double density = 0;
};

// What a predictor reads. Of a layer's attention program: its second output, its first output, the sum of its first two
// inputs, that sum normalised.
enum class PredictorInput { kFfnInput, kResidual, kLayerInput, kNormedLayerInput };
// Whether it is known before the layer's attention runs.
inline bool before_attention(PredictorInput input) {
  return input == PredictorInput::kLayerInput || input == PredictorInput::kNormedLayerInput;
}

struct PredictorFacts {
  std::string kind;
  PredictorInput input = PredictorInput::kFfnInput;
  std::vector<PredictorLayer> layers;
};

struct FileEntry {
  std::string path;
  uint64_t bytes = 0;
  std::string sha256;
  std::string role;
};

struct Manifest {
  std::string name;
  ModelFacts model;
  EmbeddingFacts embedding;
  std::vector<AttentionFacts> attention;
  FfnFacts ffn;
  std::vector<PredictorFacts> predictors;
  std::map<std::string, FileEntry> files;  // by path
};

// Errors: kCorrupt (with the offending key), kNewerFormat, kUnsupported (family, activation or dtype, with what is
// supported).
Result<Manifest> parse_manifest(std::string_view json);

}  // namespace flashneuron
