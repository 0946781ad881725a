// Input embeddings: token row + position row, read from flash row by row, or from a resident copy of the table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/aligned_buffer.h"
#include "decode/read_batch.h"
#include "flash/flash_reader.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"
#include "package/package.h"

namespace flashneuron {

class Embedding {
 public:
  // All references must outlive it. Errors: those of FlashReader::open.
  static Result<Embedding> open(const Package& package, ReadBatch& batch);
  // From now on the whole table is in DRAM. Errors: kIo, kOutOfMemory.
  Status load(const Package& package);
  // From now on rows come from flash again; the copy's memory goes back to the system.
  void unload() { resident_ = {}; }
  bool resident() const { return resident_.size() > 0; }

  // out[t] = token[ids[t]] + position[first_position + t], [ids.size(), hidden_size]. Precondition: ids and positions
  // are in range. Errors: kIo.
  Status embed(std::span<const int32_t> ids, uint32_t first_position, std::span<float> out, Counters& counters);

 private:
  explicit Embedding(const Manifest& manifest);
  // out[t] += the row's values, for every t whose token or position row it is.
  void add_row(uint32_t row, const std::byte* values, std::span<const int32_t> ids, uint32_t first_position,
               std::span<float> out);

  uint32_t hidden_size_;
  uint32_t vocab_size_;
  uint32_t position_rows_;
  DType dtype_;
  AlignedBuffer resident_;  // the whole file, or empty
  uint32_t file_ = 0;
  ReadBatch* batch_ = nullptr;
  std::vector<float> row_;
};

}  // namespace flashneuron
