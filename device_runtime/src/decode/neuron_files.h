// Where the neurons of one variant (layout and order) lie on flash.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "flash/flash_reader.h"
#include "flash/read_plan.h"
#include "flashneuron/status.h"
#include "package/package.h"

namespace flashneuron {

class NeuronFiles {
 public:
  // Opens every shard of `variant` with `reader` and keeps its places. Errors: those of FlashReader::open and
  // read_places().
  static Result<NeuronFiles> open(const Package& package, const FfnVariant& variant, FlashReader& reader);

  // Extents of one neuron: 1 (bundled: up row, then down column) or 2 (split: up, down).
  uint32_t parts() const { return static_cast<uint32_t>(layers_.front().parts.size()); }
  // Bytes of one part's record.
  uint32_t record_bytes() const { return record_bytes_; }
  // Where a neuron lies among its layer's: extents of one part are sorted if places are.
  uint32_t place(uint32_t layer, uint32_t neuron) const {
    const std::vector<uint32_t>& places = layers_[layer].places;
    return places.empty() ? neuron : places[neuron];
  }
  // Part `part` of a neuron.
  Extent extent(uint32_t layer, uint32_t part, uint32_t neuron) const;

 private:
  struct Layer {
    std::vector<uint32_t> places;              // by neuron; empty: its index
    std::vector<std::vector<uint32_t>> parts;  // per part, the reader's file of each shard
  };
  std::vector<Layer> layers_;
  uint32_t neurons_per_shard_ = 0;
  uint32_t record_bytes_ = 0;
  uint32_t stride_ = 0;
};

}  // namespace flashneuron
