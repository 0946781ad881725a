// Brings byte ranges of flash files into a staging buffer: plans the reads, issues them together, waits for all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/aligned_buffer.h"
#include "flash/flash_reader.h"
#include "flash/read_plan.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"

namespace flashneuron {

// What the device's flash curve says of reads.
struct ReadTuning {
  uint32_t max_gap_bytes = 0;         // gaps up to this are read across
  uint32_t max_read_bytes = 1 << 20;  // large reads saturate flash; longer ones only delay the first completion
};

class FlashFetcher {
 public:
  // `reader` must outlive it. Error: kOutOfMemory.
  static Result<FlashFetcher> create(FlashReader& reader, uint64_t staging_bytes, ReadTuning tuning = {});

  // How many extents, from the first on, can be read into `bytes` of staging. `wanted` is sorted by file and offset and
  // does not overlap.
  size_t fitting(std::span<const Extent> wanted, uint64_t bytes) const;
  // Reads all of `wanted` (sorted, not overlapping, fitting). Adds io_us, stall_us, requests, bytes_read and
  // bytes_wanted to `counters`. Errors: kIo; kInternal if it does not fit.
  Status fetch(std::span<const Extent> wanted, Counters& counters);
  // The first byte of extent `index` of the last fetch. Valid until the next one.
  const std::byte* at(size_t index) const { return places_[index]; }

  uint64_t staging_bytes() const { return staging_.size(); }
  // Staging that one extent of `length` bytes can take, rounded out to blocks.
  static uint64_t worst_bytes(uint64_t length, uint32_t block_bytes);

 private:
  FlashFetcher(FlashReader& reader, AlignedBuffer staging, ReadTuning tuning)
      : reader_(&reader), staging_(std::move(staging)), tuning_(tuning) {}
  // Asked anew each time: the reader's block may rise when a file is opened.
  ReadPlanRules rules() const;

  FlashReader* reader_;
  AlignedBuffer staging_;
  ReadTuning tuning_;
  std::vector<const std::byte*> places_;
  std::vector<ReadRequest> requests_;
};

}  // namespace flashneuron
