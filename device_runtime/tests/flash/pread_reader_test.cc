#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <set>

#include "flash/flash_reader.h"
#include "flash_files.h"
#include "support/temp_folder.h"

namespace flashneuron {
namespace {

using testing::drain;
using testing::memory;
using testing::TempFolder;

struct Mode {
  int workers;
  bool direct;
};

class PreadReader : public ::testing::TestWithParam<Mode> {
 protected:
  std::string file_of(uint64_t bytes, const std::string& name = "file") {
    testing::write_pattern((folder_.path() / name).string(), bytes);
    return (folder_.path() / name).string();
  }

  // The build folder is on a disk, where the system's folder for temporary files may be in memory.
  TempFolder folder_{std::filesystem::current_path()};
  std::unique_ptr<FlashReader> reader_ =
      make_pread_reader({.workers = GetParam().workers, .direct = GetParam().direct});
};

void expect_pattern(const std::byte* data, uint64_t offset, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; ++i) ASSERT_EQ(data[i], testing::pattern(offset + i)) << offset + i;
}

TEST_P(PreadReader, ReadsWhatTheFileHolds) {
  const uint32_t file = reader_->open(file_of(1 << 20)).value();
  const uint32_t block = reader_->block_bytes();
  std::mt19937 random(1);
  for (int batch = 0; batch < 20; ++batch) {
    std::vector<ReadRequest> requests;
    AlignedBuffer buffer = memory(64 * size_t{block});
    for (uint64_t tag = 0; tag < 16; ++tag) {
      const uint32_t blocks = 1 + static_cast<uint32_t>(random() % 4);
      const uint64_t first = random() % ((1 << 20) / block - blocks);
      requests.push_back({file, first * block, blocks * block, buffer.data() + tag * 4 * block, tag});
    }
    reader_->submit(requests);
    const auto statuses = drain(*reader_);
    ASSERT_EQ(statuses.size(), requests.size());
    for (const ReadRequest& request : requests) {
      ASSERT_TRUE(statuses.at(request.tag).ok()) << statuses.at(request.tag).message();
      expect_pattern(request.destination, request.offset, request.length);
    }
  }
  EXPECT_EQ(reader_->wait(), std::nullopt);
}

TEST_P(PreadReader, TheLastReadMayEndPastTheFileByLessThanABlock) {
  for (const uint64_t bytes : {1, 4095, 4096, 4097, 100001}) {
    const uint32_t file = reader_->open(file_of(bytes, std::to_string(bytes))).value();
    const uint32_t block = reader_->block_bytes();
    const uint64_t last = (bytes - 1) / block * block;
    AlignedBuffer buffer = memory(2 * size_t{block});
    const uint64_t first = last >= block ? last - block : 0;
    const auto length = static_cast<uint32_t>(last + block - first);
    reader_->submit(std::vector<ReadRequest>{{file, first, length, buffer.data(), 0}});
    const auto statuses = drain(*reader_);
    EXPECT_TRUE(statuses.at(0).ok()) << statuses.at(0).message();
    expect_pattern(buffer.data(), first, bytes - first);
  }
}

TEST_P(PreadReader, ReadsOutsideTheFileFailWithItsNameAndTheOffset) {
  const std::string path = file_of(10000);
  const uint32_t file = reader_->open(path).value();
  const uint32_t block = reader_->block_bytes();
  const uint64_t end = (10000 + block - 1) / block * block;
  AlignedBuffer buffer = memory(4 * size_t{block});
  reader_->submit(std::vector<ReadRequest>{{file, end, block, buffer.data(), 1},
                                           {file, end - block, 2 * block, buffer.data() + block, 2}});
  for (const auto& [tag, status] : drain(*reader_)) {
    EXPECT_EQ(status.code(), StatusCode::kIo) << tag;
    EXPECT_NE(status.message().find(path), std::string::npos) << status.message();
  }
}

TEST_P(PreadReader, AFileThatShrinksIsAnErrorNotOldBytes) {
  const std::string path = file_of(1 << 16);
  const uint32_t file = reader_->open(path).value();
  ASSERT_EQ(truncate(path.c_str(), 20000), 0);
  AlignedBuffer buffer = memory(1 << 16);
  reader_->submit(std::vector<ReadRequest>{{file, 0, 1 << 16, buffer.data(), 0}});
  const auto statuses = drain(*reader_);
  EXPECT_EQ(statuses.at(0).code(), StatusCode::kIo);
  EXPECT_NE(statuses.at(0).message().find(path), std::string::npos);
}

TEST_P(PreadReader, OpeningTwiceGivesTheSameNumber) {
  const std::string one = file_of(5000, "one");
  const std::string two = file_of(5000, "two");
  const uint32_t number = reader_->open(one).value();
  EXPECT_NE(reader_->open(two).value(), number);
  EXPECT_EQ(reader_->open(one).value(), number);
}

TEST_P(PreadReader, FilesThatCannotBeReadAreErrors) {
  EXPECT_EQ(reader_->open((folder_.path() / "none").string()).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(reader_->open(folder_.path().string()).status().code(), StatusCode::kIo);
  ASSERT_TRUE(reader_->open(file_of(0, "empty")).ok());
}

TEST_P(PreadReader, EndsWithReadsStillQueued) {
  const uint32_t file = reader_->open(file_of(1 << 20)).value();
  AlignedBuffer buffer = memory(1 << 20);
  std::vector<ReadRequest> requests;
  for (uint32_t i = 0; i < 16; ++i) requests.push_back({file, i << 16, 1 << 16, buffer.data() + (i << 16), i});
  reader_->submit(requests);
  reader_.reset();  // before `buffer`: no worker may write after this
}

TEST_P(PreadReader, PollingGivesEachCompletionOnceAndLeavesTheRestToWait) {
  EXPECT_EQ(reader_->poll(), std::nullopt);
  const uint32_t file = reader_->open(file_of(1 << 20)).value();
  AlignedBuffer buffer = memory(1 << 20);
  std::vector<ReadRequest> requests;
  for (uint32_t i = 0; i < 16; ++i) requests.push_back({file, i << 16, 1 << 16, buffer.data() + (i << 16), i});
  reader_->submit(requests);
  std::set<uint64_t> tags;
  while (tags.size() < 8) {
    const std::optional<ReadCompletion> completion = reader_->poll();
    if (!completion) continue;
    EXPECT_TRUE(completion->status.ok()) << completion->status.message();
    EXPECT_TRUE(tags.insert(completion->tag).second) << completion->tag;
    expect_pattern(requests[completion->tag].destination, requests[completion->tag].offset, 1 << 16);
  }
  for (const auto& [tag, status] : drain(*reader_)) {
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(tags.insert(tag).second) << tag;
  }
  EXPECT_EQ(tags.size(), 16u);
  EXPECT_EQ(reader_->poll(), std::nullopt);
}

TEST_P(PreadReader, AwaitingManyMakesThemAllReadyToPoll) {
  reader_->await(5);  // nothing is outstanding: no wait
  const uint32_t file = reader_->open(file_of(1 << 20)).value();
  AlignedBuffer buffer = memory(1 << 20);
  std::vector<ReadRequest> requests;
  for (uint32_t i = 0; i < 16; ++i) requests.push_back({file, i << 16, 1 << 16, buffer.data() + (i << 16), i});
  std::set<uint64_t> tags;
  const auto poll = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const std::optional<ReadCompletion> completion = reader_->poll();
      ASSERT_TRUE(completion.has_value()) << i;
      EXPECT_TRUE(tags.insert(completion->tag).second);
    }
  };
  reader_->submit(requests);
  reader_->await(3);
  poll(2);
  reader_->await(12);  // one of them may be there already
  poll(12);
  reader_->await(100);  // no more than what is outstanding
  poll(2);
  EXPECT_EQ(tags.size(), 16u);
  EXPECT_EQ(reader_->poll(), std::nullopt);
}

TEST_P(PreadReader, ReadsSubmittedOneByOneWhileOthersRunAllComplete) {
  const uint32_t file = reader_->open(file_of(1 << 20)).value();
  AlignedBuffer buffer = memory(1 << 20);
  std::set<uint64_t> tags;
  for (uint32_t i = 0; i < 256; ++i) {
    reader_->submit(std::vector<ReadRequest>{{file, i << 12, 4096, buffer.data() + (i << 12), i}});
    while (std::optional<ReadCompletion> completion = reader_->poll()) tags.insert(completion->tag);
  }
  for (const auto& [tag, status] : drain(*reader_)) EXPECT_TRUE(tags.insert(tag).second) << tag;
  EXPECT_EQ(tags.size(), 256u);
  expect_pattern(buffer.data(), 0, 1 << 20);
}

TEST_P(PreadReader, IsBusyOnlyWithReads) {
  EXPECT_EQ(reader_->busy_us(), 0);
  EXPECT_EQ(reader_->wait(), std::nullopt);
  reader_->submit({});
  EXPECT_EQ(reader_->busy_us(), 0);
  const uint32_t file = reader_->open(file_of(1 << 20)).value();
  AlignedBuffer buffer = memory(1 << 20);
  reader_->submit(std::vector<ReadRequest>{{file, 0, 1 << 20, buffer.data(), 0}});
  drain(*reader_);
  const int64_t busy = reader_->busy_us();
  EXPECT_GT(busy, 0);
  EXPECT_EQ(reader_->busy_us(), busy);  // every read has ended
}

TEST_P(PreadReader, SaysWhetherItReadsThroughThePageCache) {
  ASSERT_TRUE(reader_->open(file_of(5000)).ok());
  EXPECT_TRUE(GetParam().direct || reader_->buffered_reason().has_value());
  const uint32_t block = reader_->block_bytes();
  EXPECT_GE(block, 4096u);
  EXPECT_LE(block, AlignedBuffer::kAlignment);
  EXPECT_EQ(block & (block - 1), 0u);
}

std::string mode_name(const ::testing::TestParamInfo<Mode>& info) {
  return (info.param.direct ? "Direct" : "Buffered") + std::to_string(info.param.workers);
}

INSTANTIATE_TEST_SUITE_P(Modes, PreadReader,
                         ::testing::Values(Mode{1, true}, Mode{8, true}, Mode{1, false}, Mode{4, false}), mode_name);

uint64_t storage_bytes_of_all_threads() {
  std::ifstream counters("/proc/self/io");
  std::string name;
  for (uint64_t value = 0; counters >> name >> value;) {
    if (name == "read_bytes:") return value;
  }
  return 0;
}

// What the reader says of itself against what the kernel counts: a direct reader fetches the same bytes again and
// again.
TEST(DirectReads, CostStorageReadsExactlyWhenTheReaderSaysThatTheyAreDirect) {
  for (const bool direct : {true, false}) {
    const TempFolder folder(std::filesystem::current_path());
    const std::string path = (folder.path() / "file").string();
    testing::write_pattern(path, 1 << 20);
    const auto reader = make_pread_reader({.workers = 2, .direct = direct});
    const uint32_t file = reader->open(path).value();
    AlignedBuffer buffer = memory(1 << 20);
    const std::vector<ReadRequest> request{{file, 0, 1 << 20, buffer.data(), 0}};
    reader->submit(request);
    drain(*reader);
    const uint64_t before = storage_bytes_of_all_threads();
    for (int round = 0; round < 3; ++round) {
      reader->submit(request);
      drain(*reader);
    }
    const uint64_t read = storage_bytes_of_all_threads() - before;
    EXPECT_EQ(read, reader->buffered_reason() ? 0u : 3u << 20) << reader->buffered_reason().value_or("direct");
  }
}

// /dev/shm is in memory on every Linux: O_DIRECT is refused there or, on newer kernels, accepted in name only.
TEST(DirectReads, InMemoryFileSystemsAreReportedAsBuffered) {
  struct statfs facts = {};
  constexpr decltype(facts.f_type) kTmpfs = 0x01021994;
  if (statfs("/dev/shm", &facts) != 0 || facts.f_type != kTmpfs) GTEST_SKIP() << "/dev/shm is no tmpfs here";
  const TempFolder folder("/dev/shm");
  const std::string path = (folder.path() / "file").string();
  testing::write_pattern(path, 10000);
  const auto reader = make_pread_reader({.workers = 1, .direct = true});
  const uint32_t file = reader->open(path).value();
  ASSERT_TRUE(reader->buffered_reason().has_value());
  EXPECT_NE(reader->buffered_reason()->find(path), std::string::npos);
  AlignedBuffer buffer = memory(3 * 4096);
  reader->submit(std::vector<ReadRequest>{{file, 0, 3 * 4096, buffer.data(), 0}});
  EXPECT_TRUE(drain(*reader).at(0).ok());
  expect_pattern(buffer.data(), 0, 10000);
}

}  // namespace
}  // namespace flashneuron
