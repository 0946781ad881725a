#include "support/tiny_package.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "support/package_files.h"
#include "support/random.h"

namespace flashneuron::testing {
namespace {

using nlohmann::json;

struct File {
  Bytes bytes;
  std::string role;
};
using Files = std::map<std::string, File>;

std::string layer_name(const std::string& before, uint32_t layer, const std::string& after) {
  char digits[16];
  std::snprintf(digits, sizeof(digits), "%03u", layer);
  return before + digits + after;
}

Bytes text_bytes(const std::string& text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

// What is left of rows of `width` values once they went through a file.
std::vector<float> rounded(const std::vector<float>& values, size_t width, DType dtype) {
  return stored_rows(values, width, dtype).decoded;
}

const char* name_of(DType dtype) {
  static constexpr const char* kNames[] = {"fp32", "fp16", "bf16", "int8", "int4"};
  return kNames[static_cast<size_t>(dtype)];
}

// As export chooses them where neurons are integers.
DType embedding_type(DType dtype) { return has_scales(dtype) ? DType::kFp16 : dtype; }
DType predictor_type(DType dtype) { return has_scales(dtype) ? DType::kInt8 : dtype; }

bool has_thresholds(const ActivationRule& rule) {
  return rule.activation == Activation::kFatRelu || rule.activation == Activation::kSilu;
}

TinyLayer random_layer(const TinyPackageOptions& options, uint32_t number, Random& random) {
  const size_t d = options.hidden_size;
  const size_t f = options.ffn_size;
  // For x of variance 1 a product with an up row has variance 1, so the bias silences about two thirds.
  const float up_scale = std::sqrt(3.0f / static_cast<float>(d));
  const float down_scale = std::sqrt(3.0f / static_cast<float>(f));
  TinyLayer layer;
  layer.rule = options.rule;
  if (has_thresholds(layer.rule)) layer.rule.threshold += 0.05f * static_cast<float>(number);
  layer.up = rounded(random.uniforms(f * d, -up_scale, up_scale), d, options.dtype);
  layer.down = rounded(random.uniforms(f * d, -down_scale, down_scale), d, options.dtype);
  layer.up_bias = random.uniforms(f, -0.9f, 0.0f);
  layer.down_bias = random.uniforms(d, -0.1f, 0.1f);
  if (layer.rule.gated) layer.gate = rounded(random.uniforms(f * d, -up_scale, up_scale), d, options.dtype);
  layer.places.resize(f);
  std::iota(layer.places.begin(), layer.places.end(), 0u);
  std::shuffle(layer.places.begin(), layer.places.end(), std::mt19937(options.ffn_size));
  if (options.predictor == TinyPredictor::kRandom) {
    layer.rank = options.predictor_rank;
    layer.a = rounded(random.uniforms(layer.rank * d, -up_scale, up_scale), d, predictor_type(options.dtype));
    layer.b = rounded(random.uniforms(f * layer.rank, -1.0f, 1.0f), layer.rank, predictor_type(options.dtype));
    layer.bias = random.uniforms(f, -0.1f, 0.1f);
  } else if (options.predictor == TinyPredictor::kExact) {
    layer.rank = options.hidden_size;
    layer.a.resize(d * d);
    for (size_t i = 0; i < d; ++i) layer.a[i * d + i] = 1.0f;
    layer.b = layer.rule.gated ? layer.gate : layer.up;
    layer.bias = layer.rule.gated ? std::vector<float>(f) : layer.up_bias;
    if (layer.rule.activation == Activation::kFatRelu) layer.bias.assign(f, -layer.rule.threshold);
  }
  return layer;
}

// The layer's rows in order of places.
TinyLayer at_places(const TinyPackageOptions& options, const TinyLayer& layer) {
  TinyLayer moved = layer;
  const auto d = static_cast<std::ptrdiff_t>(options.hidden_size);
  for (uint32_t n = 0; n < options.ffn_size; ++n) {
    const std::ptrdiff_t to = layer.places[n] * d;
    if (layer.rule.gated) std::copy_n(layer.gate.begin() + n * d, d, moved.gate.begin() + to);
    std::copy_n(layer.up.begin() + n * d, d, moved.up.begin() + to);
    std::copy_n(layer.down.begin() + n * d, d, moved.down.begin() + to);
  }
  return moved;
}

// Rows of `weights` are in order of places.
json shard_files(Files& files, const TinyPackageOptions& options, const TinyLayer& weights, uint32_t layer,
                 uint32_t part, const std::string& order) {
  static constexpr const char* kNames[] = {"bundle", "up", "down", "gate"};
  std::vector<std::span<const float>> matrices;
  if (part == 3 || (part == 0 && weights.rule.gated)) matrices.emplace_back(weights.gate);
  if (part < 2) matrices.emplace_back(weights.up);
  if (part == 0 || part == 2) matrices.emplace_back(weights.down);
  const ShardShape shape = {
      part, options.dtype, layer, options.hidden_size, options.ffn_size, options.neurons_per_shard};
  const std::string folder = (part == 0 ? "ffn/bundled-" : "ffn/split-") + order + "/layer_";
  json names = json::array();
  for (uint32_t first = 0; first < options.ffn_size; first += options.neurons_per_shard) {
    char number[16];
    std::snprintf(number, sizeof(number), "%04u", first / options.neurons_per_shard);
    const std::string name = layer_name(folder, layer, std::string(".") + kNames[part] + "." + number + ".ffn");
    files[name] = {ffn_shard(shape, first, matrices), "ffn"};
    names.push_back(name);
  }
  return names;
}

json ffn_facts(Files& files, const TinyPackageOptions& options, const std::vector<TinyLayer>& layers) {
  json bias = json::array();
  json scales = json::array();
  for (uint32_t l = 0; l < options.layers; ++l) {
    bias.push_back(layer_name("ffn/layer_", l, ".bias"));
    Bytes values = elements(layers[l].up_bias, DType::kFp32);
    const Bytes down = elements(layers[l].down_bias, DType::kFp32);
    values.insert(values.end(), down.begin(), down.end());
    files[bias.back()] = {values, "ffn_bias"};
    if (has_scales(options.dtype)) {
      scales.push_back(layer_name("ffn/layer_", l, ".scales"));
      Bytes all;
      for (const std::vector<float>* matrix : {&layers[l].gate, &layers[l].up, &layers[l].down}) {
        const Bytes each = stored_rows(*matrix, options.hidden_size, options.dtype).scales;
        all.insert(all.end(), each.begin(), each.end());
      }
      files[scales.back()] = {all, "ffn_scales"};
    }
  }
  json variants = json::array();
  const auto add = [&](const std::string& layout, const std::string& order) {
    json of_layers = json::array();
    json places = json::array();
    for (uint32_t l = 0; l < options.layers; ++l) {
      const TinyLayer rows = order == "none" ? layers[l] : at_places(options, layers[l]);
      const auto shards = [&](uint32_t part) { return shard_files(files, options, rows, l, part, order); };
      if (layout == "bundled") {
        of_layers.push_back({{"bundle", shards(0)}});
      } else {
        of_layers.push_back({{"up", shards(1)}, {"down", shards(2)}});
        if (options.rule.gated) of_layers.back()["gate"] = shards(3);
      }
      places.push_back(layer_name("ffn/" + layout + "_", l, "." + order + ".places"));
      const auto* bytes = reinterpret_cast<const std::byte*>(rows.places.data());
      if (order != "none") files[places.back()] = {Bytes(bytes, bytes + 4 * rows.places.size()), "ffn_places"};
    }
    variants.push_back({{"layout", layout},
                        {"order", order},
                        {"neurons_per_shard", options.neurons_per_shard},
                        {"layers", of_layers}});
    if (order != "none") variants.back()["places"] = places;
  };
  for (const std::string order : {"none", "coactivation"}) {
    if (order != "none" && !options.permuted) continue;
    if (options.bundled) add("bundled", order);
    if (options.split) add("split", order);
  }
  json facts = {{"dtype", name_of(options.dtype)}, {"bias", bias}, {"variants", variants}};
  if (has_scales(options.dtype)) facts["scales"] = scales;
  return facts;
}

json attention_facts(Files& files, const TinyPackageOptions& options) {
  json names = json::array();
  for (uint32_t l = 0; l < options.layers; ++l) {
    names.push_back(layer_name("attention/xnnpack/layer_", l, ".pte"));
    files[names.back()] = {text_bytes("not a program, layer " + std::to_string(l)), "attention"};
  }
  files["head.xnnpack.pte"] = {text_bytes("not a program, head"), "head"};
  return {{"backend", "xnnpack"},
          {"dtype", "fp32"},
          {"max_chunk", options.max_chunk},
          {"layers", names},
          {"head", "head.xnnpack.pte"}};
}

json predictor_facts(Files& files, const TinyPackageOptions& options, const std::vector<TinyLayer>& layers) {
  if (options.predictor == TinyPredictor::kNone) return json::array();
  json of_layers = json::array();
  for (uint32_t l = 0; l < options.layers; ++l) {
    const TinyLayer& layer = layers[l];
    const std::string name = layer_name("predictor/layer_", l, ".pred");
    const PredictorShape shape = {predictor_type(options.dtype), l, options.hidden_size, options.ffn_size, layer.rank,
                                  options.predictor_relu};
    files[name] = {predictor_file(shape, layer.bias, layer.a, layer.b), "predictor"};
    of_layers.push_back({{"file", name}, {"rank", layer.rank}, {"density", 0.3}});
  }
  return json::array({{{"kind", "lowrank"}, {"input", options.predictor_input}, {"layers", of_layers}}});
}

json manifest_of(Files& files, const TinyPackageOptions& options, const std::vector<TinyLayer>& layers) {
  static constexpr const char* kActivations[] = {"relu", "fatrelu", "drelu", "silu"};
  const uint32_t heads = 2;
  json manifest = {
      {"format", "flashneuron-package"},
      {"format_version", 1},
      {"name", "tiny"},
      {"created_by", "flashneuron tests"},
      {"synthetic", true},
      {"model",
       {{"family", "opt"},
        {"activation", kActivations[static_cast<size_t>(options.rule.activation)]},
        {"gated", options.rule.gated},
        {"layers", options.layers},
        {"hidden_size", options.hidden_size},
        {"ffn_size", options.ffn_size},
        {"heads", heads},
        {"kv_heads", heads},
        {"head_size", options.hidden_size / heads},
        {"vocab_size", options.vocab_size},
        {"max_context", options.max_context},
        {"prompt_prefix_ids", json::array({2})},
        {"eos_token_ids", json::array({2})}}},
      {"embedding",
       {{"file", "embedding.bin"},
        {"dtype", name_of(embedding_type(options.dtype))},
        {"position_rows", options.max_context}}},
      {"attention", json::array({attention_facts(files, options)})},
      {"ffn", ffn_facts(files, options, layers)},
      {"predictors", predictor_facts(files, options, layers)},
  };
  if (has_thresholds(options.rule)) {
    json& thresholds = manifest["model"]["thresholds"];
    thresholds["on"] = options.rule.on == ThresholdOn::kGate ? "gate" : "product";
    for (const TinyLayer& layer : layers) thresholds["layers"].push_back(layer.rule.threshold);
  }
  json entries = json::array();
  for (const auto& [path, file] : files) {
    entries.push_back(
        {{"path", path}, {"bytes", file.bytes.size()}, {"sha256", sha256(file.bytes)}, {"role", file.role}});
  }
  manifest["files"] = entries;
  return manifest;
}

}  // namespace

TinyPackage::TinyPackage(const TinyPackageOptions& options) : options_(options) {
  Random random(options.seed);
  const size_t rows = size_t{options.vocab_size} + options.max_context;
  embedding_ = rounded(random.uniforms(rows * options.hidden_size, -1.0f, 1.0f), options.hidden_size,
                       embedding_type(options.dtype));
  for (uint32_t l = 0; l < options.layers; ++l) layers_.push_back(random_layer(options, l, random));
  Files files;
  files["embedding.bin"] = {elements(embedding_, embedding_type(options.dtype)), "embedding"};
  files["tokenizer.json"] = {text_bytes("{}"), "tokenizer"};
  const json manifest = manifest_of(files, options, layers_);
  for (const auto& [path, file] : files) write_file(folder_.path() / path, file.bytes);
  write_file(folder_.path() / "manifest.json", text_bytes(manifest.dump(1)));
}

std::string TinyPackage::make_store() const {
  const std::filesystem::path store = folder_.path() / "store";
  std::filesystem::create_directories(store);
  const json manifest = json::parse(std::ifstream(folder_.path() / "manifest.json"));
  for (const json& entry : manifest.at("files")) {
    std::filesystem::copy_file(folder_.path() / entry.at("path").get<std::string>(),
                               store / entry.at("sha256").get<std::string>(),
                               std::filesystem::copy_options::skip_existing);
  }
  return store.string();
}

}  // namespace flashneuron::testing
