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

// Consecutive rows of a bundle: [first, first + count) of (gate row,) up row, down column.
struct RowRange {
  uint32_t first = 0;
  uint32_t count = 0;
};

class NeuronFiles {
 public:
  // Opens every shard of `variant` with `reader` and keeps its places. Errors: those of FlashReader::open and
  // read_places().
  static Result<NeuronFiles> open(const Package& package, const FfnVariant& variant, FlashReader& reader);

  // All rows of a neuron, and the bytes of each.
  RowRange all_rows() const { return {0, rows_}; }
  uint32_t row_bytes() const { return row_bytes_; }
  // Extents of such rows of one neuron: 1 where they lie together (bundled), else one a row (split).
  uint32_t extents(RowRange rows) const { return bundled_ ? 1 : rows.count; }
  // Where a neuron lies among its layer's: extents of one part are sorted if places are.
  uint32_t place(uint32_t layer, uint32_t neuron) const {
    const std::vector<uint32_t>& places = layers_[layer].places;
    return places.empty() ? neuron : places[neuron];
  }
  // Extent `number` of such rows of a neuron.
  Extent extent(uint32_t layer, uint32_t neuron, RowRange rows, uint32_t number) const;

 private:
  struct Layer {
    std::vector<uint32_t> places;              // by neuron; empty: its index
    std::vector<std::vector<uint32_t>> parts;  // the bundle, or each row: the reader's file of each shard
  };
  std::vector<Layer> layers_;
  uint32_t neurons_per_shard_ = 0;
  bool bundled_ = true;
  uint32_t rows_ = 0;
  uint32_t row_bytes_ = 0;
  uint32_t stride_ = 0;
};

}  // namespace flashneuron
