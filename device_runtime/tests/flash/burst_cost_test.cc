#include "flash/burst_cost.h"

#include <gtest/gtest.h>

#include "flash/faulty_reader.h"
#include "flash/recording_reader.h"
#include "flash_files.h"
#include "support/temp_folder.h"

namespace flashneuron {
namespace {

constexpr uint64_t kFileBytes = 64 * 4096 + 100;  // a rest that no read touches
constexpr size_t kWeights = size_t{2} << 20;

class Bursts : public ::testing::Test {
 protected:
  Bursts() { testing::write_pattern(path_, kFileBytes); }

  BurstLoad load(FlashReader& reader) const {
    return {.file = reader.open(path_).value(),
            .file_bytes = kFileBytes,
            .read_bytes = 4096,
            .reads = 8,
            .duration_us = 2000,
            .seed = 7};
  }

  testing::TempFolder folder_;
  std::string path_ = (folder_.path() / "file").string();
  AlignedBuffer memory_ = testing::memory(8 * 4096);
  AlignedBuffer weights_ = testing::memory(kWeights);
  ThreadPool pool_{2};
};

TEST_F(Bursts, AreWholeAndLeaveNothingOutstanding) {
  RecordingReader reader(make_pread_reader({.workers = 2, .direct = false}));
  const Result<BurstCost> cost = measure_bursts(reader, load(reader), memory_.span(), weights_.span(), pool_);
  ASSERT_TRUE(cost.ok()) << cost.status().message();
  EXPECT_GE(cost.value().bursts, 2u);
  EXPECT_EQ(reader.requests().size(), 8 * cost.value().bursts);
  EXPECT_GE(cost.value().wall_us, 0);
  EXPECT_GE(cost.value().lost_us, 0);
  for (const ReadRequest& request : reader.requests()) {
    EXPECT_EQ(request.offset % 4096, 0u);
    EXPECT_LE(request.offset + request.length, kFileBytes);
    EXPECT_GE(request.destination, memory_.data());
    EXPECT_LE(request.destination + request.length, memory_.data() + memory_.size());
  }
  EXPECT_EQ(reader.poll(), std::nullopt);
}

TEST_F(Bursts, AFailedReadEndsThemWithItsError) {
  for (const uint64_t failing : {3u, 11u}) {  // in a burst that is waited for, and in one with computing beside it
    FaultyReader reader(make_pread_reader({.workers = 2, .direct = false}), {.reads = {failing}, .paths = {}});
    BurstLoad long_one = load(reader);
    long_one.duration_us = 60'000'000;
    const Status status = measure_bursts(reader, long_one, memory_.span(), weights_.span(), pool_).status();
    EXPECT_EQ(status.code(), StatusCode::kIo);
    EXPECT_EQ(reader.poll(), std::nullopt);
  }
}

}  // namespace
}  // namespace flashneuron
