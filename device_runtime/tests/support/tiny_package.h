// A small model package of random weights in a temporary folder, valid by FORMAT.md, with the same weights in memory
// for tests to compute with. Its attention programs are dummy files: tests bring a fake AttentionProgram.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/activation.h"
#include "core/dtype.h"
#include "support/temp_folder.h"

namespace flashneuron::testing {

enum class TinyPredictor {
  kNone,
  kRandom,  // of rank `predictor_rank`; selects about half of the neurons, whatever fires
  kExact,   // A is the identity and B the up rows, or the gates': selects exactly the neurons that fire with relu and
            // fatrelu, with others those whose gate is over 0
};

struct TinyPackageOptions {
  uint32_t layers = 2;
  uint32_t hidden_size = 40;  // a multiple of 4; bundles of 40 fp16 elements are shorter than their stride
  uint32_t ffn_size = 200;
  uint32_t vocab_size = 32;
  uint32_t max_context = 64;
  uint32_t max_chunk = 8;
  DType dtype = DType::kFp16;  // of the FFN, and of embedding and predictors as export chooses them
  bool bundled = true;
  bool split = true;
  bool permuted = false;  // each layout also with order coactivation, at random places
  uint32_t neurons_per_shard = 64;
  TinyPredictor predictor = TinyPredictor::kExact;
  uint32_t predictor_rank = 8;
  bool predictor_relu = false;
  std::string predictor_input = "ffn_input";
  uint64_t seed = 1;
  ActivationRule rule = {};  // of layer 0; of layer l the threshold, where there are any, is 0.05 l higher
};

// Values are those that the files hold, after rounding to the package's dtype.
struct TinyLayer {
  ActivationRule rule;
  std::vector<float> gate;       // [ffn_size, hidden_size]; empty without a gate
  std::vector<float> up;         // [ffn_size, hidden_size]
  std::vector<float> down;       // [ffn_size, hidden_size]: row n is neuron n's down column
  std::vector<float> up_bias;    // [ffn_size]; about a third of the neurons fire
  std::vector<float> down_bias;  // [hidden_size]
  std::vector<uint32_t> places;  // [ffn_size], of the permuted variants
  // Empty without a predictor.
  uint32_t rank = 0;
  std::vector<float> a;     // [rank, hidden_size]
  std::vector<float> b;     // [ffn_size, rank]
  std::vector<float> bias;  // [ffn_size]
};

// Owns its folder, which goes with it. I/O errors throw, which fails the test.
class TinyPackage {
 public:
  explicit TinyPackage(const TinyPackageOptions& options = {});

  const TinyPackageOptions& options() const { return options_; }
  std::string folder() const { return folder_.path().string(); }
  const TinyLayer& layer(uint32_t layer) const { return layers_.at(layer); }
  // [vocab_size + max_context, hidden_size]: token rows, then position rows.
  const std::vector<float>& embedding() const { return embedding_; }

  // A folder inside folder() in which each file of the package also lies under its SHA-256 (PROTOCOL.md, `store`).
  std::string make_store() const;

 private:
  TinyPackageOptions options_;
  TempFolder folder_;
  std::vector<TinyLayer> layers_;
  std::vector<float> embedding_;
};

}  // namespace flashneuron::testing
