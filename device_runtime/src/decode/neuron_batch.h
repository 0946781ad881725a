// Neurons of one layer on their way from flash into a staging area.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "decode/neuron_files.h"
#include "decode/read_batch.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"

namespace flashneuron {

class NeuronBatch {
 public:
  // Both must outlive it.
  NeuronBatch(const NeuronFiles& files, ReadBatch& reads) : files_(&files), reads_(&reads) {}

  // Starts reading `rows` of as many of `neurons` (not empty; ascending if find() will be asked), from the first on, as
  // fit, and returns how many. What the batch held before is forgotten. Errors: kIo (of a read for what it held
  // before), kInternal (not one fits).
  Result<size_t> start(uint32_t layer, std::span<const uint32_t> neurons, RowRange rows, Counters& counters);
  // Forgets what it holds; reads in flight go on unseen.
  void clear() { neurons_.clear(); }

  bool empty() const { return neurons_.empty(); }
  uint32_t layer() const { return layer_; }
  // As given.
  std::span<const uint32_t> neurons() const { return neurons_; }
  std::optional<size_t> find(uint32_t neuron) const;
  // Of neuron `index` of neurons(): whether its rows are there; waits for them; one of those that were asked for (valid
  // until the next start). Error: kIo.
  bool arrived(size_t index) const;
  Status wait(size_t index, Counters& counters);
  Status wait_all(Counters& counters) { return reads_->wait_all(counters); }
  const std::byte* row(size_t index, uint32_t row) const;
  RowRange rows() const { return rows_; }

 private:
  // Extents of the first `count` of `neurons`, in the order of flash.
  void arrange(std::span<const uint32_t> neurons, size_t count);

  const NeuronFiles* files_;
  ReadBatch* reads_;
  uint32_t layer_ = 0;
  RowRange rows_;
  std::vector<uint32_t> neurons_;
  std::vector<uint32_t> extent_of_;  // by number × neurons_.size() + index: its extent of the batch
  std::vector<Extent> extents_;
  std::vector<uint32_t> sorted_;  // by extent: number × neurons_.size() + index
};

}  // namespace flashneuron
