#include "decode/embedding.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kernels/kernels.h"
#include "package/file_io.h"

namespace flashneuron {

Embedding::Embedding(const Manifest& manifest)
    : hidden_size_(manifest.model.hidden_size),
      vocab_size_(manifest.model.vocab_size),
      position_rows_(manifest.embedding.position_rows),
      dtype_(manifest.embedding.dtype),
      row_(hidden_size_) {}

Result<Embedding> Embedding::open(const Package& package, ReadBatch& batch) {
  Embedding embedding(package.manifest());
  embedding.batch_ = &batch;
  FN_ASSIGN_OR_RETURN(embedding.file_, batch.queue().reader().open(package.path_of(package.manifest().embedding.file)));
  return embedding;
}

Status Embedding::load(const Package& package) {
  const std::string path = package.path_of(package.manifest().embedding.file);
  FN_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(path));
  const uint64_t bytes = package.bytes_of(package.manifest().embedding.file);
  FN_ASSIGN_OR_RETURN(AlignedBuffer table, AlignedBuffer::reserve(bytes));
  table.use(bytes);
  FN_RETURN_IF_ERROR(file.read(0, table.span().first(bytes)));
  resident_ = std::move(table);
  return {};
}

Status Embedding::embed(std::span<const int32_t> ids, uint32_t first_position, std::span<float> out,
                        Counters& counters) {
  // Rows of the table, ascending: tokens come before positions.
  std::vector<uint32_t> rows(ids.begin(), ids.end());
  for (uint32_t t = 0; position_rows_ > 0 && t < ids.size(); ++t) rows.push_back(vocab_size_ + first_position + t);
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  std::fill(out.begin(), out.end(), 0.0f);

  const auto length = static_cast<uint32_t>(row_bytes(dtype_, hidden_size_));
  if (resident()) {
    for (const uint32_t row : rows) add_row(row, resident_.data() + uint64_t{row} * length, ids, first_position, out);
    return {};
  }
  std::vector<Extent> extents;
  for (const uint32_t row : rows) extents.push_back({file_, uint64_t{row} * length, length});
  for (size_t done = 0; done < rows.size();) {
    const std::span<const Extent> rest = std::span(extents).subspan(done);
    const size_t count = batch_->fitting(rest);
    if (count == 0) return Status(StatusCode::kInternal, "the staging buffer is smaller than an embedding row");
    batch_->plan(rest.first(count), counters);
    batch_->submit(counters);
    FN_RETURN_IF_ERROR(batch_->wait_all(counters));
    for (size_t i = 0; i < count; ++i) add_row(rows[done + i], batch_->at(i), ids, first_position, out);
    done += count;
  }
  return {};
}

void Embedding::add_row(uint32_t row, const std::byte* values, std::span<const int32_t> ids, uint32_t first_position,
                        std::span<float> out) {
  kernels::to_fp32(values, dtype_, row_.data(), hidden_size_);
  for (size_t t = 0; t < ids.size(); ++t) {
    const bool token = row == static_cast<uint32_t>(ids[t]);
    const bool position = row == vocab_size_ + first_position + t;
    if (token || position) kernels::add(row_.data(), out.data() + t * hidden_size_, hidden_size_);
  }
}

}  // namespace flashneuron
