#include "package/package_check.h"

#include <initializer_list>

#include "package/ffn_shard.h"
#include "package/file_io.h"
#include "package/neuron_lists.h"
#include "package/predictor_file.h"

namespace flashneuron {
namespace {

struct Field {
  const char* name;
  uint32_t found;
  uint32_t wanted;
};

Status check_fields(const std::string& file, std::initializer_list<Field> fields) {
  for (const Field& field : fields) {
    if (field.found == field.wanted) continue;
    return {StatusCode::kCorrupt, file + ": " + field.name + " is " + std::to_string(field.found) +
                                      ", its place in the manifest needs " + std::to_string(field.wanted) +
                                      "; push or copy the package again"};
  }
  return {};
}

Status check_shards(const Package& package, const FfnVariant& variant, uint32_t layer, FfnPart part,
                    const std::vector<std::string>& shards) {
  const ModelFacts& model = package.manifest().model;
  uint32_t next_neuron = 0;
  for (const std::string& name : shards) {
    uint64_t bytes = 0;
    FN_ASSIGN_OR_RETURN(const auto head, read_head(package.path_of(name), kFfnHeaderBytes, bytes));
    FN_ASSIGN_OR_RETURN(const FfnShardHeader header, parse_ffn_header(head, bytes, name));
    FN_RETURN_IF_ERROR(check_fields(
        name, {{"part", static_cast<uint32_t>(header.part), static_cast<uint32_t>(part)},
               {"dtype", static_cast<uint32_t>(header.dtype), static_cast<uint32_t>(package.manifest().ffn.dtype)},
               {"layer", header.layer, layer},
               {"hidden_size", header.hidden_size, model.hidden_size},
               {"ffn_size", header.ffn_size, model.ffn_size},
               {"record_bytes", header.record_bytes,
                ffn_record_bytes(part, package.manifest().ffn.dtype, model.hidden_size, model.gated)},
               {"neurons_per_shard", header.neurons_per_shard, variant.neurons_per_shard},
               {"first_neuron", header.first_neuron, next_neuron}}));
    next_neuron += header.neuron_count;
  }
  // parse_manifest has checked the number of shards, so with the above they cover 0 … ffn_size - 1.
  return {};
}

Status check_predictor(const Package& package, uint32_t layer, const PredictorLayer& facts) {
  const ModelFacts& model = package.manifest().model;
  uint64_t bytes = 0;
  FN_ASSIGN_OR_RETURN(const auto head, read_head(package.path_of(facts.file), kLowRankHeaderBytes, bytes));
  FN_ASSIGN_OR_RETURN(const LowRankHeader header, parse_lowrank_header(head, bytes, facts.file));
  return check_fields(facts.file, {{"layer", header.layer, layer},
                                   {"hidden_size", header.hidden_size, model.hidden_size},
                                   {"ffn_size", header.ffn_size, model.ffn_size},
                                   {"rank", header.rank, facts.rank}});
}

}  // namespace

Status check_package(const Package& package) {
  const Manifest& manifest = package.manifest();
  for (uint32_t layer = 0; layer < manifest.model.layers; ++layer) {
    if (!manifest.ffn.frequency.empty()) FN_RETURN_IF_ERROR(read_frequency(package, layer).status());
    for (const FfnVariant& variant : manifest.ffn.variants) {
      FN_RETURN_IF_ERROR(read_places(package, variant, layer).status());
      const FfnLayerFiles& files = variant.layers[layer];
      FN_RETURN_IF_ERROR(check_shards(package, variant, layer, FfnPart::kBundle, files.bundle));
      FN_RETURN_IF_ERROR(check_shards(package, variant, layer, FfnPart::kGate, files.gate));
      FN_RETURN_IF_ERROR(check_shards(package, variant, layer, FfnPart::kUp, files.up));
      FN_RETURN_IF_ERROR(check_shards(package, variant, layer, FfnPart::kDown, files.down));
    }
    for (const PredictorFacts& predictor : manifest.predictors) {
      FN_RETURN_IF_ERROR(check_predictor(package, layer, predictor.layers[layer]));
    }
  }
  return {};
}

}  // namespace flashneuron
