#include "decode/neuron_files.h"

#include "package/ffn_shard.h"
#include "package/neuron_lists.h"

namespace flashneuron {

Result<NeuronFiles> NeuronFiles::open(const Package& package, const FfnVariant& variant, FlashReader& reader) {
  const Manifest& manifest = package.manifest();
  const bool bundled = variant.layout == Layout::kBundled;
  NeuronFiles files;
  files.neurons_per_shard_ = variant.neurons_per_shard;
  files.record_bytes_ =
      ffn_record_bytes(bundled ? FfnPart::kBundle : FfnPart::kUp, manifest.ffn.dtype, manifest.model.hidden_size);
  files.stride_ = ffn_stride(files.record_bytes_);
  for (const FfnLayerFiles& layer : variant.layers) {
    Layer& opened = files.layers_.emplace_back();
    const auto number_of_layer = static_cast<uint32_t>(files.layers_.size() - 1);
    FN_ASSIGN_OR_RETURN(opened.places, read_places(package, variant, number_of_layer));
    const std::vector<const std::vector<std::string>*> parts =
        bundled ? std::vector{&layer.bundle} : std::vector{&layer.up, &layer.down};
    for (const std::vector<std::string>* shards : parts) {
      std::vector<uint32_t>& numbers = opened.parts.emplace_back();
      for (const std::string& shard : *shards) {
        FN_ASSIGN_OR_RETURN(const uint32_t number, reader.open(package.path_of(shard)));
        numbers.push_back(number);
      }
    }
  }
  return files;
}

Extent NeuronFiles::extent(uint32_t layer, uint32_t part, uint32_t neuron) const {
  const uint32_t at = place(layer, neuron);
  const uint32_t shard = at / neurons_per_shard_;
  const uint64_t index = at % neurons_per_shard_;
  return {layers_[layer].parts[part][shard], kFfnHeaderBytes + index * stride_, record_bytes_};
}

}  // namespace flashneuron
