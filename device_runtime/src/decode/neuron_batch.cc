#include "decode/neuron_batch.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace flashneuron {

Result<size_t> NeuronBatch::start(uint32_t layer, std::span<const uint32_t> neurons, RowRange rows,
                                  Counters& counters) {
  if (!neurons_.empty()) FN_RETURN_IF_ERROR(reads_->wait_all(counters));
  layer_ = layer;
  rows_ = rows;
  size_t count =
      std::min<size_t>(neurons.size(), reads_->staging_bytes() / (uint64_t{rows.count} * files_->row_bytes()));
  while (count > 0) {
    arrange(neurons, count);
    const uint64_t bytes = reads_->plan(extents_, counters);
    if (bytes <= reads_->staging_bytes()) break;
    count = std::min<size_t>(count - 1, count * reads_->staging_bytes() / bytes);
  }
  if (count == 0) return Status(StatusCode::kInternal, "the staging buffer is smaller than one record");
  reads_->submit(counters);
  return count;
}

void NeuronBatch::arrange(std::span<const uint32_t> neurons, size_t count) {
  neurons_.assign(neurons.begin(), neurons.begin() + static_cast<ptrdiff_t>(count));
  std::vector<Extent> places;
  for (uint32_t number = 0; number < files_->extents(rows_); ++number) {
    for (const uint32_t neuron : neurons_) places.push_back(files_->extent(layer_, neuron, rows_, number));
  }
  sorted_.resize(places.size());
  std::iota(sorted_.begin(), sorted_.end(), 0u);
  const auto before = [&](uint32_t a, uint32_t b) {
    return std::tie(places[a].file, places[a].offset) < std::tie(places[b].file, places[b].offset);
  };
  if (!std::is_sorted(sorted_.begin(), sorted_.end(), before)) std::sort(sorted_.begin(), sorted_.end(), before);
  extents_.resize(places.size());
  extent_of_.resize(places.size());
  for (uint32_t extent = 0; extent < sorted_.size(); ++extent) {
    extents_[extent] = places[sorted_[extent]];
    extent_of_[sorted_[extent]] = extent;
  }
}

std::optional<size_t> NeuronBatch::find(uint32_t neuron) const {
  const auto found = std::lower_bound(neurons_.begin(), neurons_.end(), neuron);
  if (found == neurons_.end() || *found != neuron) return std::nullopt;
  return static_cast<size_t>(found - neurons_.begin());
}

const std::byte* NeuronBatch::row(size_t index, uint32_t row) const {
  const uint32_t number = row - rows_.first;
  if (files_->extents(rows_) == rows_.count) return reads_->at(extent_of_[number * neurons_.size() + index]);
  return reads_->at(extent_of_[index]) + size_t{number} * files_->row_bytes();
}

bool NeuronBatch::arrived(size_t index) const {
  for (size_t i = index; i < extent_of_.size(); i += neurons_.size()) {
    if (!reads_->arrived(extent_of_[i])) return false;
  }
  return true;
}

Status NeuronBatch::wait(size_t index, Counters& counters) {
  for (size_t i = index; i < extent_of_.size(); i += neurons_.size()) {
    FN_RETURN_IF_ERROR(reads_->wait(extent_of_[i], counters));
  }
  return {};
}

}  // namespace flashneuron
