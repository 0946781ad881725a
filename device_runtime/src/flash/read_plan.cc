#include "flash/read_plan.h"

#include "core/align.h"

namespace flashneuron {

std::vector<PlannedRead> plan_reads(std::span<const Extent> wanted, const ReadPlanRules& rules) {
  std::vector<PlannedRead> reads;
  for (uint32_t index = 0; index < wanted.size(); ++index) {
    const Extent& extent = wanted[index];
    const uint64_t begin = round_down(extent.offset, rules.block_bytes);
    const uint64_t end = round_up(extent.offset + extent.length, rules.block_bytes);
    if (!reads.empty() && reads.back().file == extent.file) {
      PlannedRead& last = reads.back();
      const uint64_t last_end = last.offset + last.length;
      // begin >= last.offset because extents are sorted; end >= last_end because they do not overlap.
      if (begin <= last_end + rules.max_gap_bytes && end - last.offset <= rules.max_read_bytes) {
        last.length = static_cast<uint32_t>(end - last.offset);
        ++last.extent_count;
        continue;
      }
    }
    reads.push_back({.file = extent.file,
                     .offset = begin,
                     .length = static_cast<uint32_t>(end - begin),
                     .first_extent = index,
                     .extent_count = 1});
  }
  return reads;
}

}  // namespace flashneuron
