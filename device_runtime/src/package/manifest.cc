#include "package/manifest.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "package/ffn_shard.h"
#include "package/json_field.h"
#include "package/limits.h"

namespace flashneuron {
namespace {

constexpr std::array kRoles = {"attention",  "head",          "ffn",       "ffn_bias",  "ffn_scales",
                               "ffn_places", "ffn_frequency", "predictor", "embedding", "tokenizer",
                               "golden",     "statistics",    "trace"};

// Names in the order of DType's values.
constexpr std::array<std::string_view, 5> kDTypes = {"fp32", "fp16", "bf16", "int8", "int4"};

// In the order of Activation's.
constexpr std::array<std::string_view, 4> kActivations = {"relu", "fatrelu", "drelu", "silu"};

DType dtype_named(const std::string& name) {
  const auto found = std::find(kDTypes.begin(), kDTypes.end(), name);
  return found == kDTypes.end() ? DType::kFp32 : static_cast<DType>(found - kDTypes.begin());
}

bool is_package_path(const std::string& path) {
  if (path.empty() || path.size() > kMaxPathBytes || path == "manifest.json") return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    const bool plain = std::all_of(part.begin(), part.end(), [](char c) {
      return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
             c == '-';
    });
    if (part.empty() || part == "." || part == ".." || !plain) return false;
    begin = end + 1;
  }
  return true;
}

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// Reads the parts of a manifest in the order of what they need: files, model, then what refers to them. Any defect ends
// up in the Status behind the fields.
class ManifestReader {
 public:
  explicit ManifestReader(Manifest& manifest) : manifest_(manifest) {}

  void read(const JsonField& root) {
    manifest_.name = root["name"].text();
    if (manifest_.name.empty() || manifest_.name.size() > kMaxNameBytes) {
      root["name"].fail("is not a name of 1 to " + std::to_string(kMaxNameBytes) + " bytes");
    }
    root["created_by"].text();
    root["synthetic"].flag();
    read_files(root["files"]);
    read_model(root["model"]);
    if (!root.sound()) return;
    read_embedding(root["embedding"]);
    read_attention(root["attention"]);
    read_ffn(root["ffn"]);
    read_predictors(root["predictors"]);
  }

 private:
  void read_files(const JsonField& field) {
    int tokenizers = 0;
    for (const JsonField& item : field.items()) {
      FileEntry entry{.path = item["path"].text(),
                      .bytes = item["bytes"].number(0, kMaxFileBytes),
                      .sha256 = item["sha256"].text(),
                      .role = item["role"].text()};
      if (!item.sound()) return;
      if (!is_package_path(entry.path)) item["path"].fail(in_quotes(entry.path) + " is not a path inside the package");
      if (!is_sha256(entry.sha256)) item["sha256"].fail("is not 64 lower-case hexadecimal digits");
      if (std::find(kRoles.begin(), kRoles.end(), entry.role) == kRoles.end()) {
        item["role"].fail("is " + in_quotes(entry.role) + ", which is not a role");
      }
      tokenizers += entry.role == "tokenizer" ? 1 : 0;
      const std::string path = entry.path;
      if (!manifest_.files.emplace(path, std::move(entry)).second)
        item["path"].fail("names " + path + " a second time");
    }
    if (tokenizers != 1) field.fail("must name exactly one file of role tokenizer");
  }

  void read_model(const JsonField& field) {
    ModelFacts& model = manifest_.model;
    model.family = field["family"].one_of({"opt", "falcon", "llama", "mistral", "qwen2", "qwen3", "minicpm", "bamboo"});
    const std::string activation = field["activation"].one_of({"relu", "fatrelu", "drelu", "silu"});
    model.gated = field["gated"].flag();
    model.layers = field["layers"].number32(1, kMaxLayers);
    for (const auto& [key, size] : {std::pair{"hidden_size", &model.hidden_size},
                                    {"ffn_size", &model.ffn_size},
                                    {"heads", &model.heads},
                                    {"kv_heads", &model.kv_heads},
                                    {"head_size", &model.head_size},
                                    {"vocab_size", &model.vocab_size},
                                    {"max_context", &model.max_context}}) {
      *size = field[key].number32(1, kMaxSize);
    }
    if (!field.sound()) return;
    if (model.heads % model.kv_heads != 0) field["heads"].fail("is not a multiple of kv_heads");
    if (uint64_t{model.heads} * model.head_size > kMaxSize) field["head_size"].fail("times heads is too large");
    read_activation(field, activation);
    read_token_ids(field["prompt_prefix_ids"]);
    model.eos_token_ids = read_token_ids(field["eos_token_ids"]);
  }

  // Precondition: `name` is that of an activation.
  void read_activation(const JsonField& field, const std::string& name) {
    ModelFacts& model = manifest_.model;
    const auto activation = std::find(kActivations.begin(), kActivations.end(), name);
    model.activation = static_cast<Activation>(activation - kActivations.begin());
    if (model.activation != Activation::kRelu && !model.gated) {
      field["gated"].fail("is false, but " + name + " needs a gate");
    }
    if (model.activation != Activation::kFatRelu && model.activation != Activation::kSilu) {
      if (const auto thresholds = field.find("thresholds")) thresholds->fail("is there, but " + name + " has none");
      return;
    }
    const JsonField thresholds = field["thresholds"];
    const bool on_product = thresholds["on"].one_of({"gate", "product"}) == "product";
    if (on_product && model.activation == Activation::kFatRelu) thresholds["on"].fail("must be gate for fatrelu");
    model.threshold_on = on_product ? ThresholdOn::kProduct : ThresholdOn::kGate;
    for (const JsonField& item : thresholds["layers"].items(model.layers, "layers")) {
      model.thresholds.push_back(item.positive());
    }
  }

  std::vector<int32_t> read_token_ids(const JsonField& field) const {
    std::vector<int32_t> ids;
    for (const JsonField& item : field.items()) {
      ids.push_back(static_cast<int32_t>(item.number(0, manifest_.model.vocab_size - 1)));
    }
    return ids;
  }

  // The path of a file that is listed once, used once, and has this role and size.
  std::string reference(const JsonField& field, const std::string& role, std::optional<uint64_t> bytes = std::nullopt) {
    std::string path = field.text();
    if (!field.sound()) return {};
    const auto found = manifest_.files.find(path);
    if (found == manifest_.files.end()) {
      field.fail("names " + in_quotes(path) + ", which is not in files");
    } else if (!used_.insert(path).second) {
      field.fail("names " + path + ", which is used twice");
    } else if (found->second.role != role) {
      field.fail("names " + path + " of role " + found->second.role + ", must be " + role);
    } else if (bytes && found->second.bytes != *bytes) {
      field.fail("names " + path + " of " + std::to_string(found->second.bytes) + " bytes, its shape needs " +
                 std::to_string(*bytes));
    }
    return path;
  }

  std::vector<std::string> layer_references(const JsonField& field, const std::string& role,
                                            std::optional<uint64_t> bytes = std::nullopt) {
    std::vector<std::string> paths;
    for (const JsonField& item : field.items(manifest_.model.layers, "layers")) {
      paths.push_back(reference(item, role, bytes));
    }
    return paths;
  }

  void read_embedding(const JsonField& field) {
    const ModelFacts& model = manifest_.model;
    EmbeddingFacts& embedding = manifest_.embedding;
    embedding.dtype = dtype_named(field["dtype"].one_of({"fp32", "fp16", "bf16"}));
    embedding.position_rows = field["position_rows"].number32(0, kMaxSize);
    if (embedding.position_rows != 0 && embedding.position_rows < model.max_context) {
      field["position_rows"].fail("is less than model.max_context");
    }
    const uint64_t rows = uint64_t{model.vocab_size} + embedding.position_rows;
    embedding.file = reference(field["file"], "embedding", rows * row_bytes(embedding.dtype, model.hidden_size));
  }

  void read_attention(const JsonField& field) {
    for (const JsonField& item : field.items()) {
      AttentionFacts facts;
      facts.backend = item["backend"].text();
      facts.dtype = item["dtype"].text();
      facts.max_chunk = item["max_chunk"].number32(1, kMaxSize);
      if (!item.sound()) return;
      for (const AttentionFacts& other : manifest_.attention) {
        if (other.backend == facts.backend) item["backend"].fail("repeats a backend");
      }
      if (facts.backend.starts_with("qnn-")) {
        read_static_graphs(item, facts);
      } else {
        if (item.find("contexts"))
          item["contexts"].fail("is there, but " + in_quotes(facts.backend) + " has no static graphs");
        facts.layers = layer_references(item["layers"], "attention");
      }
      facts.head = reference(item["head"], "head");
      manifest_.attention.push_back(std::move(facts));
    }
    if (manifest_.attention.empty()) field.fail("has no programs");
  }

  void read_static_graphs(const JsonField& item, AttentionFacts& facts) {
    facts.sdk = item["sdk"].text();
    facts.weight_sharing = item["weight_sharing"].flag();
    for (const JsonField& rows : item["contexts"].items()) {
      const uint32_t context = rows.number32(1, kMaxSize);
      if (!facts.contexts.empty() && context <= facts.contexts.back()) rows.fail("does not ascend");
      facts.contexts.push_back(context);
    }
    if (facts.contexts.empty()) item["contexts"].fail("has no number of rows");
    for (const JsonField& file : item["layers"].items(manifest_.model.layers, "layers")) {
      const bool same = !facts.layers.empty() && file.text() == facts.layers.back();
      facts.layers.push_back(same ? facts.layers.back() : reference(file, "attention"));
    }
  }

  void read_ffn(const JsonField& field) {
    const ModelFacts& model = manifest_.model;
    FfnFacts& ffn = manifest_.ffn;
    ffn.dtype = dtype_named(field["dtype"].one_of({"fp32", "fp16", "bf16", "int8", "int4"}));
    ffn.bias = layer_references(field["bias"], "ffn_bias", 4 * (uint64_t{model.ffn_size} + model.hidden_size));
    if (const auto frequency = field.find("frequency")) {
      ffn.frequency = layer_references(*frequency, "ffn_frequency", 4 * uint64_t{model.ffn_size});
    }
    if (has_scales(ffn.dtype)) {
      const uint64_t bytes =
          uint64_t{bundle_rows(model.gated)} * model.ffn_size * scale_bytes(ffn.dtype, model.hidden_size);
      ffn.scales = layer_references(field["scales"], "ffn_scales", bytes);
    } else if (field.find("scales")) {
      field["scales"].fail("is there, but " + field["dtype"].text() + " has no scales");
    }
    for (const JsonField& item : field["variants"].items()) ffn.variants.push_back(read_variant(item));
    if (ffn.variants.empty()) field["variants"].fail("has no layout");
  }

  FfnVariant read_variant(const JsonField& field) {
    FfnVariant variant;
    variant.layout = field["layout"].one_of({"bundled", "split"}) == "split" ? Layout::kSplit : Layout::kBundled;
    variant.order = field["order"].one_of({"none", "coactivation"}) == "none" ? Order::kNone : Order::kCoactivation;
    variant.neurons_per_shard = field["neurons_per_shard"].number32(1, kMaxSize);
    if (!field.sound()) return variant;
    for (const FfnVariant& other : manifest_.ffn.variants) {
      if (other.layout == variant.layout && other.order == variant.order) field.fail("repeats a layout and order");
    }
    const auto places = field.find("places");
    if (places.has_value() == (variant.order == Order::kNone)) {
      field.fail(places ? "has places but no order" : "has an order but no places");
    }
    if (places) {
      variant.places = layer_references(*places, "ffn_places", 4 * uint64_t{manifest_.model.ffn_size});
    }
    for (const JsonField& layer : field["layers"].items(manifest_.model.layers, "layers")) {
      FfnLayerFiles files;
      if (variant.layout == Layout::kBundled) {
        files.bundle = read_shards(layer["bundle"], FfnPart::kBundle, variant);
      } else {
        if (manifest_.model.gated) {
          files.gate = read_shards(layer["gate"], FfnPart::kGate, variant);
        } else if (const auto gate = layer.find("gate")) {
          gate->fail("is there, but model.gated is false");
        }
        files.up = read_shards(layer["up"], FfnPart::kUp, variant);
        files.down = read_shards(layer["down"], FfnPart::kDown, variant);
      }
      variant.layers.push_back(std::move(files));
    }
    return variant;
  }

  std::vector<std::string> read_shards(const JsonField& field, FfnPart part, const FfnVariant& variant) {
    const ModelFacts& model = manifest_.model;
    const uint32_t each = variant.neurons_per_shard;
    const uint32_t stride = ffn_stride(ffn_record_bytes(part, manifest_.ffn.dtype, model.hidden_size, model.gated));
    std::vector<std::string> paths;
    for (const JsonField& item : field.items((model.ffn_size + each - 1) / each, "shards")) {
      const uint32_t first = each * static_cast<uint32_t>(paths.size());
      const uint64_t bytes = kFfnHeaderBytes + uint64_t{std::min(each, model.ffn_size - first)} * stride;
      if (bytes > kMaxShardBytes) item.fail("is over 256 MiB");
      paths.push_back(reference(item, "ffn", bytes));
    }
    return paths;
  }

  void read_predictors(const JsonField& field) {
    for (const JsonField& item : field.items()) {
      PredictorFacts facts{.kind = item["kind"].one_of({"lowrank"}), .input = {}, .layers = {}};
      const std::string input = item["input"].one_of({"ffn_input", "residual", "layer_input", "normed_layer_input"});
      if (input == "residual") facts.input = PredictorInput::kResidual;
      if (input == "layer_input") facts.input = PredictorInput::kLayerInput;
      if (input == "normed_layer_input") facts.input = PredictorInput::kNormedLayerInput;
      if (!manifest_.predictors.empty()) item["kind"].fail("repeats a predictor");
      for (const JsonField& layer : item["layers"].items(manifest_.model.layers, "layers")) {
        facts.layers.push_back({.file = reference(layer["file"], "predictor"),
                                .rank = layer["rank"].number32(1, kMaxRank),
                                .density = layer["density"].share()});
      }
      manifest_.predictors.push_back(std::move(facts));
    }
  }

  Manifest& manifest_;
  std::set<std::string> used_;
};

}  // namespace

Result<Manifest> parse_manifest(std::string_view text) {
  if (text.size() > kMaxManifestBytes) return Status(StatusCode::kCorrupt, "manifest.json: is over 4 MiB");
  nlohmann::json document;
  try {
    document = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    return Status(StatusCode::kCorrupt, "manifest.json: is not JSON (at byte " + std::to_string(error.byte) + ")");
  } catch (const nlohmann::json::exception&) {
    return Status(StatusCode::kCorrupt, "manifest.json: is not JSON (a number is out of range)");
  }
  Status defect;
  const JsonField root(document, defect);
  if (root["format"].text() != "flashneuron-package") root["format"].fail("is not \"flashneuron-package\"");
  const uint64_t version = root["format_version"].number(1, UINT64_MAX);
  if (defect.ok() && version > kFormatVersion) {
    return Status(StatusCode::kNewerFormat, "manifest.json: is of format version " + std::to_string(version) +
                                                ", this runtime reads up to " + std::to_string(kFormatVersion) +
                                                "; use a newer flashneuron");
  }
  Manifest manifest;
  if (defect.ok()) ManifestReader(manifest).read(root);
  if (!defect.ok()) return Status(defect.code(), "manifest.json: " + defect.message());
  return manifest;
}

}  // namespace flashneuron
