// The read planner (pure): from the bytes that are wanted to the reads that fetch them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace flashneuron {

// Bytes wanted: [offset, offset + length) of an open file.
struct Extent {
  uint32_t file = 0;
  uint64_t offset = 0;
  uint32_t length = 0;
};

// One block-aligned read that covers extents [first_extent, first_extent + extent_count). It may end past the file's
// end by less than a block.
struct PlannedRead {
  uint32_t file = 0;
  uint64_t offset = 0;
  uint32_t length = 0;
  uint32_t first_extent = 0;
  uint32_t extent_count = 0;
};

struct ReadPlanRules {
  uint32_t block_bytes = 4096;        // a power of two
  uint32_t max_gap_bytes = 0;         // gaps between rounded extents up to this are read across
  uint32_t max_read_bytes = 1 << 20;  // a single extent longer than this is still one read
};

// Precondition: `wanted` is sorted by (file, offset) and does not overlap; lengths are 1 to 2^31. Neighbours whose
// rounded ranges touch, overlap or lie within max_gap_bytes share a read, as long as it stays within max_read_bytes.
std::vector<PlannedRead> plan_reads(std::span<const Extent> wanted, const ReadPlanRules& rules);

}  // namespace flashneuron
