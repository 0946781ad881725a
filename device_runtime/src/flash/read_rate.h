// How fast a reader reads: scattered reads of one size, for a given time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "flash/flash_reader.h"

namespace flashneuron {

struct ReadLoad {
  uint32_t file = 0;        // from FlashReader::open
  uint64_t file_bytes = 0;  // at least one read
  uint32_t read_bytes = 0;  // a multiple of the reader's block
  uint32_t batch = 0;       // reads submitted together, from 1
  bool feed = true;  // a new batch is submitted while the one before is read; false: when the one before has ended
  int64_t duration_us = 0;
  uint64_t seed = 0;
};

struct ReadRate {
  uint64_t reads = 0;
  int64_t wall_us = 0;  // from the first submission to the last completion
  int64_t cpu_us = 0;   // of the whole process, in user and kernel

  double bytes_per_s(uint32_t read_bytes) const {
    return wall_us > 0 ? 1e6 * static_cast<double>(reads) * read_bytes / static_cast<double>(wall_us) : 0;
  }
};

// Reads at offsets that are drawn evenly from the multiples of read_bytes, until `duration_us` has passed and every
// read has ended. `memory` takes the bytes: aligned to the block, at least load_memory_bytes(load). Precondition: the
// reader has nothing outstanding. Error: kIo.
Result<ReadRate> measure_reads(FlashReader& reader, const ReadLoad& load, std::span<std::byte> memory);

uint64_t load_memory_bytes(const ReadLoad& load);

}  // namespace flashneuron
