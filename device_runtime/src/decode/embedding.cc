#include "decode/embedding.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace flashneuron {

Embedding::Embedding(const Manifest& manifest, uint32_t file, FlashFetcher& fetcher)
    : hidden_size_(manifest.model.hidden_size),
      vocab_size_(manifest.model.vocab_size),
      position_rows_(manifest.embedding.position_rows),
      dtype_(manifest.embedding.dtype),
      file_(file),
      fetcher_(&fetcher),
      row_(hidden_size_) {}

Result<Embedding> Embedding::open(const Package& package, FlashReader& reader, FlashFetcher& fetcher) {
  FN_ASSIGN_OR_RETURN(const uint32_t file, reader.open(package.path_of(package.manifest().embedding.file)));
  return Embedding(package.manifest(), file, fetcher);
}

Status Embedding::embed(std::span<const int32_t> ids, uint32_t first_position, std::span<float> out,
                        Counters& counters) {
  std::fill(out.begin(), out.end(), 0.0f);
  std::vector<uint32_t> rows(ids.begin(), ids.end());
  FN_RETURN_IF_ERROR(add_rows(rows, out, counters));
  if (position_rows_ == 0) return {};
  for (size_t t = 0; t < rows.size(); ++t) rows[t] = vocab_size_ + first_position + static_cast<uint32_t>(t);
  return add_rows(rows, out, counters);
}

Status Embedding::add_rows(std::span<const uint32_t> rows, std::span<float> out, Counters& counters) {
  const auto row_bytes = static_cast<uint32_t>(hidden_size_ * element_bytes(dtype_));
  std::vector<uint32_t> distinct(rows.begin(), rows.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  std::vector<Extent> extents;
  for (const uint32_t row : distinct) extents.push_back({file_, uint64_t{row} * row_bytes, row_bytes});

  for (size_t done = 0; done < distinct.size();) {
    const std::span<const Extent> rest = std::span(extents).subspan(done);
    const size_t count = fetcher_->fitting(rest, fetcher_->staging_bytes());
    if (count == 0) return Status(StatusCode::kInternal, "the staging buffer is smaller than an embedding row");
    FN_RETURN_IF_ERROR(fetcher_->fetch(rest.first(count), counters));
    for (size_t t = 0; t < rows.size(); ++t) {
      const auto found = std::lower_bound(distinct.begin(), distinct.end(), rows[t]);
      const auto index = static_cast<size_t>(found - distinct.begin());
      if (index < done || index >= done + count) continue;
      kernels::to_fp32(fetcher_->at(index - done), dtype_, row_.data(), hidden_size_);
      kernels::add(row_.data(), out.data() + t * hidden_size_, hidden_size_);
    }
    done += count;
  }
  return {};
}

}  // namespace flashneuron
