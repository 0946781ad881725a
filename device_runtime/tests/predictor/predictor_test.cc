#include "predictor/predictor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "core/aligned_buffer.h"
#include "ffn/ffn_accumulator.h"
#include "kernels/kernels.h"
#include "kernels/neuron.h"
#include "support/random.h"
#include "support/rules.h"
#include "support/tiny_package.h"

namespace flashneuron {
namespace {

using testing::Random;
using testing::TinyLayer;
using testing::TinyPackage;
using testing::TinyPackageOptions;
using testing::TinyPredictor;

constexpr int kInputs = 10;

Package open(const TinyPackage& tiny, const std::optional<std::string>& store = std::nullopt) {
  Result<Package> package = Package::open(tiny.folder(), store);
  EXPECT_TRUE(package.ok()) << package.status().message();
  return std::move(package).value();
}

std::unique_ptr<Predictor> loaded(Result<std::unique_ptr<Predictor>> predictor) {
  EXPECT_TRUE(predictor.ok()) << predictor.status().message();
  return std::move(predictor).value();
}

std::vector<float> input(const TinyPackage& tiny, Random& random) {
  return random.uniforms(tiny.options().hidden_size, -1.7f, 1.7f);
}

std::vector<uint32_t> select(Predictor& predictor, uint32_t layer, const std::vector<float>& x) {
  std::vector<uint32_t> selected = {7, 7};  // whatever was there goes
  predictor.select(layer, x, selected);
  return selected;
}

float dot(const float* weights, const float* x, size_t count) {
  return kernels::reference::dot(reinterpret_cast<const std::byte*>(weights), DType::kFp32, x, count);
}

// The neurons that fire, from the weights in memory.
std::vector<uint32_t> firing(const TinyPackage& tiny, uint32_t layer, const std::vector<float>& x) {
  const TinyLayer& weights = tiny.layer(layer);
  std::vector<uint32_t> result;
  for (uint32_t n = 0; n < tiny.options().ffn_size; ++n) {
    const float up = dot(&weights.up[n * x.size()], x.data(), x.size()) + weights.up_bias[n];
    const float gate = weights.rule.gated ? dot(&weights.gate[n * x.size()], x.data(), x.size()) : 0;
    if (testing::hidden_value(weights.rule, gate, up) != 0) result.push_back(n);
  }
  return result;
}

std::vector<uint32_t> predicted(const TinyPackage& tiny, uint32_t layer, const std::vector<float>& x) {
  const TinyLayer& weights = tiny.layer(layer);
  std::vector<float> hidden;
  for (uint32_t r = 0; r < weights.rank; ++r) {
    const float value = dot(&weights.a[r * x.size()], x.data(), x.size());
    hidden.push_back(tiny.options().predictor_relu ? std::max(value, 0.0f) : value);
  }
  std::vector<uint32_t> result;
  for (uint32_t n = 0; n < tiny.options().ffn_size; ++n) {
    if (dot(&weights.b[n * weights.rank], hidden.data(), weights.rank) + weights.bias[n] > 0) result.push_back(n);
  }
  return result;
}

void replace_in_file(const std::string& path, const std::string& from, const std::string& to) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  std::string content = text.str();
  const size_t at = content.find(from);
  ASSERT_NE(at, std::string::npos);
  content.replace(at, from.size(), to);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

class PredictorOfDType : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(, PredictorOfDType, ::testing::Values(DType::kFp32, DType::kFp16, DType::kBf16));

TEST_P(PredictorOfDType, LowRankSelectsByItsFormulaWithAnyNumberOfThreads) {
  const TinyPackage tiny({.ffn_size = 1000, .dtype = GetParam(), .predictor = TinyPredictor::kRandom});
  const Package package = open(tiny);
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    const auto predictor = loaded(load_lowrank_predictor(package, pool));
    Random random(3);
    for (int i = 0; i < kInputs; ++i) {
      const std::vector<float> x = input(tiny, random);
      for (uint32_t layer = 0; layer < 2; ++layer) {
        const std::vector<uint32_t> expected = predicted(tiny, layer, x);
        EXPECT_EQ(select(*predictor, layer, x), expected);
        EXPECT_GT(expected.size(), 200u);
        EXPECT_LT(expected.size(), 800u);
      }
    }
  }
}

TEST_P(PredictorOfDType, AReluStandsBetweenTheMatricesWhereTheFileSaysSo) {
  const TinyPackage tiny({.ffn_size = 1000,
                          .dtype = GetParam(),
                          .predictor = TinyPredictor::kRandom,
                          .predictor_relu = true,
                          .predictor_input = "residual"});
  const TinyPackage without({.ffn_size = 1000, .dtype = GetParam(), .predictor = TinyPredictor::kRandom});
  ThreadPool pool(2);
  const auto predictor = loaded(load_lowrank_predictor(open(tiny), pool));
  EXPECT_EQ(predictor->input(), PredictorInput::kResidual);
  Random random(3);
  for (int i = 0; i < kInputs; ++i) {
    const std::vector<float> x = input(tiny, random);
    EXPECT_EQ(select(*predictor, 1, x), predicted(tiny, 1, x));
    EXPECT_NE(select(*predictor, 1, x), predicted(without, 1, x));
  }
}

TEST_P(PredictorOfDType, OracleSelectsExactlyTheNeuronsThatFire) {
  for (const ActivationRule& rule : testing::kRules) {
    const TinyPackage tiny({.hidden_size = 132,
                            .ffn_size = 1000,
                            .dtype = GetParam(),
                            .permuted = true,
                            .neurons_per_shard = 300,
                            .rule = rule});
    const Package package = open(tiny);
    for (const FfnVariant& variant : package.manifest().ffn.variants) {
      for (const int threads : {1, 3}) {
        ThreadPool pool(threads);
        const auto oracle = loaded(load_oracle_predictor(package, variant, pool));
        Random random(4);
        for (int i = 0; i < kInputs; ++i) {
          const std::vector<float> x = input(tiny, random);
          for (uint32_t layer = 0; layer < 2; ++layer) {
            const std::vector<uint32_t> expected = firing(tiny, layer, x);
            EXPECT_EQ(select(*oracle, layer, x), expected) << testing::name_of(rule);
            EXPECT_GT(expected.size(), 100u) << testing::name_of(rule);
            EXPECT_LT(expected.size(), 600u) << testing::name_of(rule);
          }
        }
      }
    }
  }
}

// What a predictor of integers selects is what its decoded weights select, but for logits that rounding may turn.
TEST(Predictor, Int8LowRankAndQuantisedOraclesFollowTheirDecodedWeights) {
  const auto differing = [](const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
    std::vector<uint32_t> difference;
    std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(difference));
    return difference.size();
  };
  for (const DType dtype : {DType::kInt8, DType::kInt4}) {
    for (const ActivationRule& rule : testing::kRules) {
      const TinyPackage tiny({.hidden_size = 132,
                              .ffn_size = 1000,
                              .dtype = dtype,
                              .predictor = TinyPredictor::kRandom,
                              .predictor_relu = dtype == DType::kInt8,
                              .rule = rule});
      const Package package = open(tiny);
      ThreadPool pool(2);
      const auto lowrank = loaded(load_lowrank_predictor(package, pool));
      Random random(8);
      for (int i = 0; i < kInputs; ++i) {
        const std::vector<float> x = input(tiny, random);
        EXPECT_LE(differing(select(*lowrank, 1, x), predicted(tiny, 1, x)), 1u);
        EXPECT_GT(firing(tiny, 1, x).size(), 100u);
        for (const FfnVariant& variant : package.manifest().ffn.variants) {
          const auto oracle = loaded(load_oracle_predictor(package, variant, pool));
          EXPECT_LE(differing(select(*oracle, 1, x), firing(tiny, 1, x)), 1u) << testing::name_of(rule);
        }
      }
    }
  }
}

// tests/data/predictor, written by tools/make-predictor-fixtures.
TEST(Predictor, SelectsWhatPyTorchSelectsFromTheSameFiles) {
  constexpr size_t kWidth = 40, kNeurons = 200, kRows = 12;
  const std::filesystem::path folder = std::filesystem::path(FN_TEST_DATA) / "predictor";
  std::ifstream recorded(folder / "selected.bin", std::ios::binary);
  std::vector<float> x(kRows * kWidth);
  recorded.read(reinterpret_cast<char*>(x.data()), static_cast<std::streamsize>(x.size() * sizeof(float)));
  const std::pair<DType, std::string> dtypes[] = {
      {DType::kBf16, "bf16"}, {DType::kFp16, "fp16"}, {DType::kFp32, "fp32"}, {DType::kInt8, "int8"}};
  for (const auto& [dtype, name] : dtypes) {
    for (const bool relu : {false, true}) {
      const TinyPackage tiny({.hidden_size = kWidth,
                              .ffn_size = kNeurons,
                              .dtype = dtype,
                              .predictor = TinyPredictor::kRandom,
                              .predictor_rank = 8,
                              .predictor_relu = relu,
                              .predictor_input = "layer_input"});
      std::filesystem::copy_file(folder / (name + (relu ? "-relu.pred" : "-linear.pred")),
                                 tiny.folder() + "/predictor/layer_000.pred",
                                 std::filesystem::copy_options::overwrite_existing);
      ThreadPool pool(2);
      const auto predictor = loaded(load_lowrank_predictor(open(tiny), pool));
      EXPECT_EQ(predictor->input(), PredictorInput::kLayerInput);
      for (size_t row = 0; row < kRows; ++row) {
        std::vector<char> expected(kNeurons);
        ASSERT_TRUE(recorded.read(expected.data(), kNeurons));
        const auto begin = x.begin() + static_cast<std::ptrdiff_t>(row * kWidth);
        const std::vector<uint32_t> selected = select(*predictor, 0, {begin, begin + kWidth});
        for (uint32_t n = 0; n < kNeurons; ++n) {
          const bool found = std::binary_search(selected.begin(), selected.end(), n);
          EXPECT_TRUE(expected[n] == 2 || found == (expected[n] == 1)) << name << " relu " << relu << " neuron " << n;
        }
      }
    }
  }
  EXPECT_EQ(recorded.peek(), std::ifstream::traits_type::eof());
}

TEST(Predictor, ExactLowRankAgreesWithTheOracle) {
  const TinyPackage tiny;  // A is the identity and B the up rows
  const Package package = open(tiny);
  ThreadPool pool(2);
  const auto lowrank = loaded(load_lowrank_predictor(package, pool));
  const auto oracle = loaded(load_oracle_predictor(package, package.manifest().ffn.variants[0], pool));
  Random random(5);
  for (int i = 0; i < kInputs; ++i) {
    const std::vector<float> x = input(tiny, random);
    EXPECT_EQ(select(*lowrank, 1, x), select(*oracle, 1, x));
  }
}

TEST(Predictor, OraclesNeuronsGiveTheDenseFfnToTheBit) {
  for (const ActivationRule& rule : testing::kRules) {
    const TinyPackage tiny({.hidden_size = 300, .ffn_size = 500, .dtype = DType::kFp32, .rule = rule});
    const Package package = open(tiny);
    ThreadPool pool(2);
    const auto oracle = loaded(load_oracle_predictor(package, package.manifest().ffn.variants[1], pool));
    const TinyLayer& layer = tiny.layer(1);
    const auto ffn = [&](const std::vector<float>& x, const std::vector<uint32_t>& neurons) {
      std::vector<NeuronRow> rows;
      for (const uint32_t n : neurons) {
        rows.push_back({.neuron = n,
                        .up = reinterpret_cast<const std::byte*>(&layer.up[n * x.size()]),
                        .down = reinterpret_cast<const std::byte*>(&layer.down[n * x.size()])});
        if (rule.gated) rows.back().gate = reinterpret_cast<const std::byte*>(&layer.gate[n * x.size()]);
      }
      FfnAccumulator accumulator(300, DType::kFp32, 1, pool);
      accumulator.begin(x, 1, layer.rule, layer.up_bias, layer.down_bias);
      std::vector<float> activations(rows.size());
      accumulator.activate(rows, activations);
      accumulator.add(rows, activations);
      std::vector<float> out(x.size());
      accumulator.finish(out);
      return out;
    };
    std::vector<uint32_t> all(500);
    for (uint32_t n = 0; n < 500; ++n) all[n] = n;
    Random random(6);
    for (int i = 0; i < kInputs; ++i) {
      const std::vector<float> x = input(tiny, random);
      const std::vector<uint32_t> selected = select(*oracle, 1, x);
      const std::vector<float> sparse = ffn(x, selected);
      const std::vector<float> dense = ffn(x, all);
      EXPECT_EQ(std::memcmp(sparse.data(), dense.data(), 4 * dense.size()), 0) << testing::name_of(rule);
      EXPECT_LT(selected.size(), 300u) << testing::name_of(rule);
    }
  }
}

TEST(Predictor, ReadsFromAStore) {
  const TinyPackage tiny;
  const Package package = open(tiny, tiny.make_store());
  std::filesystem::remove_all(tiny.folder() + "/ffn");
  std::filesystem::remove_all(tiny.folder() + "/predictor");
  ThreadPool pool(1);
  const auto lowrank = loaded(load_lowrank_predictor(package, pool));
  const auto oracle = loaded(load_oracle_predictor(package, package.manifest().ffn.variants[0], pool));
  Random random(7);
  const std::vector<float> x = input(tiny, random);
  EXPECT_EQ(select(*lowrank, 0, x), firing(tiny, 0, x));
  EXPECT_EQ(select(*oracle, 0, x), firing(tiny, 0, x));
}

TEST(Predictor, ReportsWhatItHolds) {
  const TinyPackage tiny({.layers = 3, .hidden_size = 64, .ffn_size = 512, .predictor = TinyPredictor::kRandom});
  const Package package = open(tiny);
  ThreadPool pool(1);
  const uint64_t files = package.role_bytes("predictor");
  const uint64_t lowrank = loaded(load_lowrank_predictor(package, pool))->resident_bytes();
  EXPECT_GE(lowrank, files);
  EXPECT_LE(lowrank, files + 3 * AlignedBuffer::kAlignment);
  const uint64_t copy = 3 * (512 * 64 * 2 + 512 * 4);
  const uint64_t oracle =
      loaded(load_oracle_predictor(package, package.manifest().ffn.variants[0], pool))->resident_bytes();
  EXPECT_GE(oracle, copy);
  EXPECT_LE(oracle, copy + 3 * AlignedBuffer::kAlignment);
}

TEST(Predictor, RefusesAPackageWithout) {
  const TinyPackage tiny({.predictor = TinyPredictor::kNone});
  ThreadPool pool(1);
  const auto predictor = load_lowrank_predictor(open(tiny), pool);
  ASSERT_FALSE(predictor.ok());
  EXPECT_EQ(predictor.status().code(), StatusCode::kUnsupported);
  EXPECT_NE(predictor.status().message().find("predictor=none"), std::string::npos);
}

TEST(Predictor, RefusesADamagedFile) {
  const TinyPackage tiny;
  replace_in_file(tiny.folder() + "/predictor/layer_001.pred", "FNPRED", "FNPREX");
  ThreadPool pool(1);
  const auto predictor = load_lowrank_predictor(open(tiny), pool);
  ASSERT_FALSE(predictor.ok());
  EXPECT_EQ(predictor.status().code(), StatusCode::kCorrupt);
  EXPECT_NE(predictor.status().message().find("predictor/layer_001.pred"), std::string::npos);
}

TEST(Predictor, OracleReportsAShardThatShrankAfterOpening) {
  const TinyPackage tiny;
  const Package package = open(tiny);
  const std::string shard = package.path_of(package.manifest().ffn.variants[1].layers[1].up[2]);
  std::filesystem::resize_file(shard, 17000);
  ThreadPool pool(1);
  const auto predictor = load_oracle_predictor(package, package.manifest().ffn.variants[1], pool);
  ASSERT_FALSE(predictor.ok());
  EXPECT_EQ(predictor.status().code(), StatusCode::kIo);
  EXPECT_NE(predictor.status().message().find(shard), std::string::npos);
}

}  // namespace
}  // namespace flashneuron
