// What the reads of a layer cost a decode loop: bursts of reads between and beside phases of computing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/thread_pool.h"
#include "flash/flash_reader.h"

namespace flashneuron {

struct BurstLoad {
  uint32_t file = 0;        // from FlashReader::open
  uint64_t file_bytes = 0;  // at least one read
  uint32_t read_bytes = 0;  // a multiple of the reader's block
  uint32_t reads = 0;       // handed over at once, from 1
  int64_t duration_us = 0;
  uint64_t seed = 0;
};

// Medians, of a burst.
struct BurstCost {
  uint64_t bursts = 0;  // made in all
  int64_t wall_us = 0;  // where it is waited for: from its submission to its last completion
  int64_t lost_us = 0;  // where computing goes on meanwhile: what that loses until the last completion
};

// Rehearses a decode loop without a model: `pool` computes by reading `weights` (more than the caches hold) round and
// round, and is kept awake through a burst, as Decoder does it. Every other burst is waited for, the others have
// computing beside them. Places are drawn evenly from the multiples of read_bytes. `memory`: aligned to the block, at
// least reads * read_bytes. Precondition: the reader has nothing outstanding. Error: kIo.
Result<BurstCost> measure_bursts(FlashReader& reader, const BurstLoad& load, std::span<std::byte> memory,
                                 std::span<const std::byte> weights, ThreadPool& pool);

}  // namespace flashneuron
