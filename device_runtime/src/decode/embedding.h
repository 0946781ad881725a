// Input embeddings: token row + position row, read from flash row by row. The table is never resident.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/flash_fetcher.h"
#include "flash/flash_reader.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"
#include "package/package.h"

namespace flashneuron {

class Embedding {
 public:
  // All references must outlive it. Errors: those of FlashReader::open.
  static Result<Embedding> open(const Package& package, FlashReader& reader, FlashFetcher& fetcher);

  // out[t] = token[ids[t]] + position[first_position + t], [ids.size(), hidden_size]. Precondition: ids and positions
  // are in range. Errors: kIo.
  Status embed(std::span<const int32_t> ids, uint32_t first_position, std::span<float> out, Counters& counters);

 private:
  Embedding(const Manifest& manifest, uint32_t file, FlashFetcher& fetcher);
  // Adds table rows `rows[t]` to out[t].
  Status add_rows(std::span<const uint32_t> rows, std::span<float> out, Counters& counters);

  uint32_t hidden_size_;
  uint32_t vocab_size_;
  uint32_t position_rows_;
  DType dtype_;
  uint32_t file_;
  FlashFetcher* fetcher_;
  std::vector<float> row_;
};

}  // namespace flashneuron
