#include "decode/neuron_files.h"

#include "package/ffn_shard.h"
#include "package/neuron_lists.h"

namespace flashneuron {

Result<NeuronFiles> NeuronFiles::open(const Package& package, const FfnVariant& variant, FlashReader& reader) {
  const Manifest& manifest = package.manifest();
  NeuronFiles files;
  files.bundled_ = variant.layout == Layout::kBundled;
  files.rows_ = bundle_rows(manifest.model.gated);
  files.row_bytes_ = static_cast<uint32_t>(flashneuron::row_bytes(manifest.ffn.dtype, manifest.model.hidden_size));
  files.neurons_per_shard_ = variant.neurons_per_shard;
  files.stride_ = ffn_stride(files.bundled_ ? files.rows_ * files.row_bytes_ : files.row_bytes_);
  for (const FfnLayerFiles& layer : variant.layers) {
    Layer& opened = files.layers_.emplace_back();
    const auto number_of_layer = static_cast<uint32_t>(files.layers_.size() - 1);
    FN_ASSIGN_OR_RETURN(opened.places, read_places(package, variant, number_of_layer));
    for (const std::vector<std::string>* shards : layer.parts()) {
      if (shards->empty()) continue;
      std::vector<uint32_t>& numbers = opened.parts.emplace_back();
      for (const std::string& shard : *shards) {
        FN_ASSIGN_OR_RETURN(const uint32_t number, reader.open(package.path_of(shard)));
        numbers.push_back(number);
      }
    }
  }
  return files;
}

Extent NeuronFiles::extent(uint32_t layer, uint32_t neuron, RowRange rows, uint32_t number) const {
  const uint32_t at = place(layer, neuron);
  const uint32_t shard = at / neurons_per_shard_;
  const uint64_t index = at % neurons_per_shard_;
  const uint64_t record = kFfnHeaderBytes + index * stride_;
  const auto& parts = layers_[layer].parts;
  if (!bundled_) return {parts[rows.first + number][shard], record, row_bytes_};
  return {parts.front()[shard], record + uint64_t{rows.first} * row_bytes_, rows.count * row_bytes_};
}

}  // namespace flashneuron
