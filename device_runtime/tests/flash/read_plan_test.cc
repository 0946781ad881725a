#include "flash/read_plan.h"

#include <gtest/gtest.h>

#include <random>

namespace flashneuron {
namespace {

constexpr ReadPlanRules kRules{.block_bytes = 4096, .max_gap_bytes = 0, .max_read_bytes = 1 << 20};

void expect_read(const PlannedRead& read, uint32_t file, uint64_t offset, uint32_t length, uint32_t first,
                 uint32_t count) {
  EXPECT_EQ(read.file, file);
  EXPECT_EQ(read.offset, offset);
  EXPECT_EQ(read.length, length);
  EXPECT_EQ(read.first_extent, first);
  EXPECT_EQ(read.extent_count, count);
}

TEST(ReadPlan, NothingWantedNothingRead) { EXPECT_TRUE(plan_reads({}, kRules).empty()); }

TEST(ReadPlan, ReadsRoundOutToBlocks) {
  const Extent wanted[] = {{.file = 3, .offset = 5000, .length = 100}};
  const auto reads = plan_reads(wanted, kRules);
  ASSERT_EQ(reads.size(), 1u);
  expect_read(reads[0], 3, 4096, 4096, 0, 1);
}

TEST(ReadPlan, NeighboursThatShareOrTouchABlockShareARead) {
  const Extent wanted[] = {{0, 0, 1000}, {0, 3000, 2000}, {0, 8192, 10}, {0, 16384, 10}};
  const auto reads = plan_reads(wanted, kRules);
  ASSERT_EQ(reads.size(), 2u);
  expect_read(reads[0], 0, 0, 12288, 0, 3);
  expect_read(reads[1], 0, 16384, 4096, 3, 1);
}

TEST(ReadPlan, SmallGapsAreReadAcross) {
  const Extent wanted[] = {{0, 0, 10}, {0, 8192, 10}, {0, 20480, 10}};
  ReadPlanRules rules = kRules;
  rules.max_gap_bytes = 4096;
  const auto reads = plan_reads(wanted, rules);
  ASSERT_EQ(reads.size(), 2u);
  expect_read(reads[0], 0, 0, 12288, 0, 2);
  expect_read(reads[1], 0, 20480, 4096, 2, 1);
}

TEST(ReadPlan, FilesAreNeverMixed) {
  const Extent wanted[] = {{0, 0, 4096}, {1, 4096, 4096}};
  EXPECT_EQ(plan_reads(wanted, kRules).size(), 2u);
}

TEST(ReadPlan, MergingStopsAtTheLongestRead) {
  const Extent wanted[] = {{0, 0, 4096}, {0, 4096, 4096}, {0, 8192, 4096}};
  ReadPlanRules rules = kRules;
  rules.max_read_bytes = 8192;
  const auto reads = plan_reads(wanted, rules);
  ASSERT_EQ(reads.size(), 2u);
  expect_read(reads[0], 0, 0, 8192, 0, 2);
  expect_read(reads[1], 0, 8192, 4096, 2, 1);
}

TEST(ReadPlan, OneExtentIsOneReadHoweverLong) {
  const Extent wanted[] = {{0, 100, 3 << 20}};
  const auto reads = plan_reads(wanted, kRules);
  ASSERT_EQ(reads.size(), 1u);
  expect_read(reads[0], 0, 0, (3 << 20) + 4096, 0, 1);
}

TEST(ReadPlan, OffsetsBeyond4GiBStayWhole) {
  const Extent wanted[] = {{0, (uint64_t{5} << 30) + 7, 9}};
  expect_read(plan_reads(wanted, kRules).at(0), 0, uint64_t{5} << 30, 4096, 0, 1);
}

// Whatever is wanted: every extent lies in its read, reads are aligned, ascending and as few as the rules allow.
TEST(ReadPlan, RandomPlansCoverWhatIsWantedWithinTheRules) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](uint32_t count) { return static_cast<uint32_t>(random() % count); };
    const ReadPlanRules rules{
        .block_bytes = 4096u << below(3), .max_gap_bytes = below(3) * 6000, .max_read_bytes = 16384u << below(4)};
    std::vector<Extent> wanted;
    for (uint32_t file = 0; file < 3; ++file) {
      uint64_t offset = below(9000);
      for (uint32_t i = below(40); i > 0; --i) {
        wanted.push_back({file, offset, 1 + below(9000)});
        offset += wanted.back().length + (below(2) == 0 ? 0 : below(30000));
      }
    }
    uint32_t next = 0;
    const auto reads = plan_reads(wanted, rules);
    for (size_t i = 0; i < reads.size(); ++i) {
      const PlannedRead& read = reads[i];
      ASSERT_EQ(read.offset % rules.block_bytes, 0u);
      ASSERT_EQ(read.length % rules.block_bytes, 0u);
      ASSERT_EQ(read.first_extent, next);
      ASSERT_GE(read.extent_count, 1u);
      ASSERT_TRUE(read.extent_count == 1 || read.length <= rules.max_read_bytes);
      for (; next < read.first_extent + read.extent_count; ++next) {
        ASSERT_EQ(wanted[next].file, read.file);
        ASSERT_GE(wanted[next].offset, read.offset);
        ASSERT_LE(wanted[next].offset + wanted[next].length, read.offset + read.length);
      }
      if (i == 0 || reads[i - 1].file != read.file) continue;
      const uint64_t end = reads[i - 1].offset + reads[i - 1].length;
      const Extent& first = wanted[read.first_extent];
      const uint64_t merged = first.offset + first.length - reads[i - 1].offset;
      ASSERT_TRUE(read.offset > end + rules.max_gap_bytes || merged + rules.block_bytes > rules.max_read_bytes);
    }
    ASSERT_EQ(next, wanted.size());
  }
}

// Reading across a gap trades bytes for requests: never more requests, never fewer bytes, and every byte in between
// belongs to an extent, to a block's rest, or to a gap that the rules allow.
TEST(ReadPlan, WiderGapsMeanFewerReadsOfMoreBytes) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](uint32_t count) { return static_cast<uint32_t>(random() % count); };
    std::vector<Extent> wanted;
    uint64_t offset = below(100000);
    for (uint32_t i = 60; i > 0; --i) {
      wanted.push_back({0, offset, 4096});
      offset += 4096 + uint64_t{4096} * (below(3) == 0 ? 0 : below(8));
    }
    uint64_t last_bytes = 0;
    size_t last_reads = wanted.size() + 1;
    for (uint32_t gap = 0; gap <= 8 * 4096; gap += 4096) {
      const ReadPlanRules rules{.block_bytes = 4096, .max_gap_bytes = gap, .max_read_bytes = 1 << 30};
      const auto reads = plan_reads(wanted, rules);
      uint64_t bytes = 0;
      for (const PlannedRead& read : reads) {
        bytes += read.length;
        // What two blocks' rests and a gap after each extent but the last can add.
        ASSERT_LE(read.length, read.extent_count * (4096u + 2 * 4096u) + (read.extent_count - 1) * gap);
      }
      ASSERT_LE(reads.size(), last_reads);
      ASSERT_GE(bytes, last_bytes);
      for (size_t i = 1; i < reads.size(); ++i) {
        ASSERT_GT(reads[i].offset, reads[i - 1].offset + reads[i - 1].length + gap);
      }
      last_reads = reads.size();
      last_bytes = bytes;
    }
    ASSERT_EQ(last_reads, 1u);  // no gap is wider than 7 blocks
  }
}

}  // namespace
}  // namespace flashneuron
