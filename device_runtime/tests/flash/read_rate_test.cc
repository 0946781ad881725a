#include "flash/read_rate.h"

#include <gtest/gtest.h>

#include <set>

#include "flash/faulty_reader.h"
#include "flash/recording_reader.h"
#include "flash_files.h"
#include "support/temp_folder.h"

namespace flashneuron {
namespace {

constexpr uint64_t kFileBytes = 64 * 4096 + 100;  // a rest that no read touches

class ReadRates : public ::testing::Test {
 protected:
  ReadRates() { testing::write_pattern(path_, kFileBytes); }

  testing::TempFolder folder_;
  std::string path_ = (folder_.path() / "file").string();
  RecordingReader reader_{make_pread_reader({.workers = 2, .direct = false})};
};

TEST_F(ReadRates, CountsEveryReadAndStaysInsideTheFile) {
  for (const bool feed : {true, false}) {
    reader_.forget();
    ReadLoad load{.file = reader_.open(path_).value(),
                  .file_bytes = kFileBytes,
                  .read_bytes = 4096,
                  .batch = 8,
                  .feed = feed,
                  .duration_us = 2000,
                  .seed = 7};
    AlignedBuffer buffer = testing::memory(load_memory_bytes(load));
    const Result<ReadRate> rate = measure_reads(reader_, load, buffer.span());
    ASSERT_TRUE(rate.ok()) << rate.status().message();
    EXPECT_EQ(rate.value().reads, reader_.requests().size());
    EXPECT_GE(rate.value().wall_us, load.duration_us);
    EXPECT_GT(rate.value().bytes_per_s(4096), 0);
    std::set<uint64_t> offsets;
    for (const ReadRequest& request : reader_.requests()) {
      EXPECT_EQ(request.offset % 4096, 0u);
      EXPECT_LE(request.offset + request.length, kFileBytes);
      EXPECT_GE(request.destination, buffer.data());
      EXPECT_LE(request.destination + request.length, buffer.data() + buffer.size());
      offsets.insert(request.offset);
    }
    EXPECT_GT(offsets.size(), 1u);
    EXPECT_EQ(reader_.poll(), std::nullopt);
  }
}

TEST_F(ReadRates, AFailedReadEndsItWithItsError) {
  FaultyReader faulty(make_pread_reader({.workers = 2, .direct = false}), {.reads = {3}, .paths = {}});
  const ReadLoad load{.file = faulty.open(path_).value(),
                      .file_bytes = kFileBytes,
                      .read_bytes = 4096,
                      .batch = 4,
                      .duration_us = 60'000'000};
  AlignedBuffer buffer = testing::memory(load_memory_bytes(load));
  EXPECT_EQ(measure_reads(faulty, load, buffer.span()).status().code(), StatusCode::kIo);
  EXPECT_EQ(faulty.poll(), std::nullopt);
}

}  // namespace
}  // namespace flashneuron
