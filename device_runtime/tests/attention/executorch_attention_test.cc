// The programs of tests/data/attention (written by tools/make-attention-fixtures) against what PyTorch computed.
#ifdef __aarch64__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "attention/attention_program.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "support/tiny_package.h"

namespace flashneuron {
namespace {

namespace fs = std::filesystem;
using Floats = std::vector<float>;

constexpr uint32_t kLayers = 2;
constexpr uint32_t kHidden = 32;
constexpr uint32_t kHeads = 2;
constexpr uint32_t kVocab = 32;
constexpr uint32_t kContext = 24;
constexpr uint32_t kMaxChunk = 8;
constexpr uint32_t kTokens = 20;
constexpr KvType kTypes[] = {KvType::kFp32, KvType::kFp16, KvType::kInt8};

// A key halfway between two integers may be rounded to either, which is a step of its head's scale apart.
constexpr float kInt8Tolerance = 2e-2f;

struct RecordedLayer {
  Floats residual;
  Floats ffn_out;
  struct {
    Floats residual;
    Floats ffn_input;
  } expected[3];  // by KvType
};

struct Recorded {
  std::vector<RecordedLayer> layers;
  Floats head_residual;
  Floats head_ffn_out;
  Floats logits;
};

fs::path case_folder(const std::string& name) { return fs::path(FN_TEST_DATA) / "attention" / name; }

Recorded read_recorded(const std::string& name) {
  std::ifstream file(case_folder(name) / "recorded.bin", std::ios::binary);
  auto take = [&](size_t count) {
    Floats values(count);
    file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(count * sizeof(float)));
    return values;
  };
  Recorded recorded;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    RecordedLayer& in = recorded.layers.emplace_back();
    in.residual = take(kTokens * kHidden);
    in.ffn_out = take(kTokens * kHidden);
    for (auto& expected : in.expected) {
      expected.residual = take(kTokens * kHidden);
      expected.ffn_input = take(kTokens * kHidden);
    }
  }
  recorded.head_residual = take(kHidden);
  recorded.head_ffn_out = take(kHidden);
  recorded.logits = take(kVocab);
  EXPECT_TRUE(file.good()) << name;
  EXPECT_EQ(file.peek(), std::ifstream::traits_type::eof()) << name;
  return recorded;
}

// A package whose programs are a case's; its other files are random.
class CasePackage {
 public:
  explicit CasePackage(const std::string& name) : files_(options()) {
    replace("attention/xnnpack/layer_000.pte", case_folder(name) / "layer_000.pte");
    replace("attention/xnnpack/layer_001.pte", case_folder(name) / "layer_001.pte");
    replace("head.xnnpack.pte", case_folder(name) / "head.pte");
  }

  // Puts another file at a path of the manifest, with its size.
  void replace(const std::string& path, const fs::path& source) {
    const fs::path manifest_path = fs::path(files_.folder()) / "manifest.json";
    fs::copy_file(source, fs::path(files_.folder()) / path, fs::copy_options::overwrite_existing);
    nlohmann::json manifest = nlohmann::json::parse(std::ifstream(manifest_path));
    for (auto& entry : manifest["files"]) {
      if (entry["path"] == path) entry["bytes"] = fs::file_size(source);
    }
    std::ofstream(manifest_path) << manifest;
  }

  Package open() const {
    Result<Package> package = Package::open(files_.folder(), std::nullopt);
    EXPECT_TRUE(package.ok()) << package.status().message();
    return std::move(package).value();
  }
  std::string folder() const { return files_.folder(); }

 private:
  static testing::TinyPackageOptions options() {
    testing::TinyPackageOptions options;
    options.layers = kLayers;
    options.hidden_size = kHidden;
    options.vocab_size = kVocab;
    options.max_context = kContext;
    options.max_chunk = kMaxChunk;
    options.split = false;
    options.predictor = testing::TinyPredictor::kNone;
    return options;
  }

  testing::TinyPackage files_;
};

std::unique_ptr<AttentionProgram> load(const Package& package, int threads = 2) {
  auto attention = load_executorch_attention(package, package.manifest().attention.front(), threads);
  EXPECT_TRUE(attention.ok()) << attention.status().message();
  return attention.ok() ? std::move(attention).value() : nullptr;
}

struct Outputs {
  std::vector<Floats> residual;  // by layer, [kTokens, kHidden]
  std::vector<Floats> ffn_input;
  bool operator==(const Outputs&) const = default;
};

// Every layer on its recorded inputs, all layers for one chunk before the next chunk, as the decoder does. The residual
// is updated in place.
Outputs run(AttentionProgram& attention, const Recorded& recorded, KvType type, const std::vector<uint32_t>& chunks) {
  Result<KvCache> kv = KvCache::create(kLayers, kTokens + 3, {kHeads, kHidden / kHeads, type});
  EXPECT_TRUE(kv.ok());
  Outputs out;
  for (const RecordedLayer& layer : recorded.layers) {
    out.residual.push_back(layer.residual);
    out.ffn_input.emplace_back(layer.residual.size());
  }
  uint32_t position = 0;
  for (uint32_t tokens : chunks) {
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      float* residual = &out.residual[layer][position * kHidden];
      const Status status =
          attention.layer(layer, position, tokens, residual, &recorded.layers[layer].ffn_out[position * kHidden],
                          kv.value(), residual, &out.ffn_input[layer][position * kHidden]);
      EXPECT_TRUE(status.ok()) << status.message();
    }
    position += tokens;
  }
  EXPECT_EQ(position, kTokens);
  return out;
}

float largest_difference(const Floats& a, const Floats& b) {
  float largest = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
  return largest;
}

struct Case {
  const char* name;
  float tolerance;
};

// On an arm64 CPU with fp16 arithmetic XNNPACK multiplies by fp16 weights and sums in fp16, by other kernels for one
// row than for several: a token's bits then depend on how many come with it.
bool sums_in_fp16([[maybe_unused]] const std::string& name) {
#ifdef __aarch64__
  return name == "pre-fp16" && (getauxval(AT_HWCAP) & HWCAP_ASIMDHP) != 0;
#else
  return false;
#endif
}

// Values of up to 20 are 1/64 apart in fp16.
constexpr float kSumsInFp16Tolerance = 8.0f / 64;

class ExecutorchAttention : public ::testing::TestWithParam<Case> {
 protected:
  const Recorded recorded_ = read_recorded(GetParam().name);
  const CasePackage files_{GetParam().name};
  const Package package_ = files_.open();
  const bool sums_in_fp16_ = sums_in_fp16(GetParam().name);
  const float tolerance_ = sums_in_fp16_ ? kSumsInFp16Tolerance : GetParam().tolerance;

  void expect_same(const Outputs& a, const Outputs& b) const {
    if (!sums_in_fp16_) {
      EXPECT_EQ(a, b);
      return;
    }
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      EXPECT_LT(largest_difference(a.residual[layer], b.residual[layer]), tolerance_);
      EXPECT_LT(largest_difference(a.ffn_input[layer], b.ffn_input[layer]), tolerance_);
    }
  }
};

TEST_P(ExecutorchAttention, LayersComputeWhatPytorchDoes) {
  const auto attention = load(package_);
  ASSERT_NE(attention, nullptr);
  EXPECT_EQ(attention->max_chunk(), kMaxChunk);
  for (KvType type : kTypes) {
    const Outputs out = run(*attention, recorded_, type, {8, 1, 1, 7, 2, 1});
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      const auto& expected = recorded_.layers[layer].expected[static_cast<int>(type)];
      const float tolerance = std::max(tolerance_, type == KvType::kInt8 ? kInt8Tolerance : 0);
      EXPECT_LT(largest_difference(out.residual[layer], expected.residual), tolerance);
      EXPECT_LT(largest_difference(out.ffn_input[layer], expected.ffn_input), tolerance);
    }
  }
}

TEST_P(ExecutorchAttention, HeadComputesWhatPytorchDoes) {
  const auto attention = load(package_);
  ASSERT_NE(attention, nullptr);
  Floats logits(kVocab);
  ASSERT_TRUE(attention->head(recorded_.head_residual.data(), recorded_.head_ffn_out.data(), logits).ok());
  EXPECT_LT(largest_difference(logits, recorded_.logits), tolerance_);
}

TEST_P(ExecutorchAttention, CutsOfThePromptDoNotChangeABit) {
  const auto attention = load(package_);
  ASSERT_NE(attention, nullptr);
  for (KvType type : kTypes) {
    const Outputs chunks = run(*attention, recorded_, type, {8, 8, 4});
    expect_same(run(*attention, recorded_, type, std::vector<uint32_t>(kTokens, 1)), chunks);
    expect_same(run(*attention, recorded_, type, {3, 5, 1, 8, 3}), chunks);
  }
}

TEST_P(ExecutorchAttention, ThreadsDoNotChangeABit) {
  auto run_on = [&](int threads) {
    const auto attention = load(package_, threads);
    return run(*attention, recorded_, KvType::kFp16, {8, 8, 1, 3});
  };
  const Outputs one = run_on(1);
  EXPECT_EQ(run_on(2), one);
  EXPECT_EQ(run_on(3), one);
}

TEST_P(ExecutorchAttention, EstimateCoversWeightsAndActivations) {
  const AttentionFacts& facts = package_.manifest().attention.front();
  const AttentionEstimate estimate = estimate_executorch_attention(package_, facts);
  const uint64_t outputs = 4 * uint64_t{kMaxChunk} * kHidden * sizeof(float);
  EXPECT_GT(estimate.attention_bytes, package_.role_bytes("attention") + outputs);
  EXPECT_GE(estimate.head_bytes, package_.role_bytes("head") + kVocab * sizeof(float));
}

// fp32: a key of an fp16 cache that lies halfway between two values may be rounded to either.
INSTANTIATE_TEST_SUITE_P(Cases, ExecutorchAttention,
                         ::testing::Values(Case{"pre-fp32", 5e-4f}, Case{"pre-fp16", 1e-2f}, Case{"pre-int8", 1e-2f},
                                           Case{"pre-int4", 1e-2f}, Case{"post-fp32", 5e-4f}),
                         [](const auto& one) {
                           std::string name = one.param.name;
                           std::erase(name, '-');
                           return name;
                         });

TEST(ExecutorchAttentionTest, RefusesCallsThatDoNotFit) {
  const CasePackage files("pre-fp32");
  const auto attention = load(files.open());
  ASSERT_NE(attention, nullptr);
  Result<KvCache> kv = KvCache::create(kLayers, 10, {kHeads, kHidden / kHeads, KvType::kFp16});
  ASSERT_TRUE(kv.ok());
  Floats x(16 * kHidden);
  auto call = [&](uint32_t layer, uint32_t position, uint32_t tokens) {
    return attention->layer(layer, position, tokens, x.data(), x.data(), kv.value(), x.data(), x.data()).code();
  };
  EXPECT_EQ(call(2, 0, 1), StatusCode::kInternal);
  EXPECT_EQ(call(0, 0, 9), StatusCode::kInternal);
  EXPECT_EQ(call(0, 0, 0), StatusCode::kInternal);
  EXPECT_EQ(call(0, 3, 8), StatusCode::kInternal);
  EXPECT_EQ(call(0, 2, 8), StatusCode::kOk);
}

TEST(ExecutorchAttentionTest, NamesAProgramThatIsNone) {
  CasePackage files("pre-fp32");
  files.replace("attention/xnnpack/layer_001.pte", case_folder("pre-fp32") / "recorded.bin");
  const Package package = files.open();
  const auto attention = load_executorch_attention(package, package.manifest().attention.front(), 1);
  EXPECT_EQ(attention.status().code(), StatusCode::kCorrupt);
  EXPECT_NE(attention.status().message().find("attention/xnnpack/layer_001.pte"), std::string::npos);
}

TEST(ExecutorchAttentionTest, NamesAProgramOfAnotherShape) {
  CasePackage files("pre-fp32");
  files.replace("head.xnnpack.pte", case_folder("pre-fp32") / "layer_000.pte");
  const Package package = files.open();
  const auto attention = load_executorch_attention(package, package.manifest().attention.front(), 1);
  EXPECT_EQ(attention.status().code(), StatusCode::kCorrupt);
  EXPECT_NE(attention.status().message().find("head.xnnpack.pte"), std::string::npos);
}

TEST(ExecutorchAttentionTest, NamesATruncatedProgram) {
  CasePackage files("pre-fp32");
  const fs::path half = fs::path(files.folder()) / "half";
  fs::copy_file(case_folder("pre-fp32") / "layer_000.pte", half);
  fs::resize_file(half, fs::file_size(half) / 2);
  files.replace("attention/xnnpack/layer_000.pte", half);
  const Package package = files.open();
  const auto attention = load_executorch_attention(package, package.manifest().attention.front(), 1);
  ASSERT_FALSE(attention.ok());
  EXPECT_NE(attention.status().message().find("attention/xnnpack/layer_000.pte"), std::string::npos);
}

}  // namespace
}  // namespace flashneuron
