#include <gtest/gtest.h>

#include "flash/faulty_reader.h"
#include "flash/recording_reader.h"
#include "flash_files.h"
#include "support/temp_folder.h"

namespace flashneuron {
namespace {

using testing::drain;
using testing::memory;

class Decorators : public ::testing::Test {
 protected:
  Decorators() {
    for (const std::string& path : {one_, two_}) testing::write_pattern(path, 4 * 4096);
  }

  // Four reads of a block each, tags 0 … 3.
  std::vector<ReadRequest> blocks(uint32_t file) {
    std::vector<ReadRequest> requests;
    for (uint32_t i = 0; i < 4; ++i) requests.push_back({file, i * 4096u, 4096, buffer_.data() + i * 4096, i});
    return requests;
  }

  static std::unique_ptr<FlashReader> base() { return make_pread_reader({.workers = 2, .direct = false}); }

  testing::TempFolder folder_;
  std::string one_ = (folder_.path() / "one").string();
  std::string two_ = (folder_.path() / "two").string();
  AlignedBuffer buffer_ = memory(4 * 4096);
};

TEST_F(Decorators, FaultyFailsTheReadsOfTheseNumbers) {
  FaultyReader reader(base(), {.reads = {1, 6}, .paths = {}});
  const uint32_t file = reader.open(one_).value();
  std::fill_n(buffer_.data() + 4096, 4096, std::byte{99});
  reader.submit(blocks(file));
  auto statuses = drain(reader);
  ASSERT_EQ(statuses.size(), 4u);
  for (const uint64_t tag : {0, 2, 3}) EXPECT_TRUE(statuses.at(tag).ok()) << tag;
  EXPECT_EQ(statuses.at(1).code(), StatusCode::kIo);
  EXPECT_EQ(buffer_.data()[4096], std::byte{99});
  EXPECT_EQ(buffer_.data()[2 * 4096], testing::pattern(2 * 4096));

  reader.submit(blocks(file));  // reads 4 … 7
  statuses = drain(reader);
  EXPECT_EQ(statuses.at(2).code(), StatusCode::kIo);
  EXPECT_TRUE(statuses.at(1).ok());
}

TEST_F(Decorators, FaultyFailsAllReadsOfAFile) {
  FaultyReader reader(base(), {.reads = {}, .paths = {two_}});
  const uint32_t sound = reader.open(one_).value();
  const uint32_t faulty = reader.open(two_).value();
  reader.submit(blocks(faulty));
  for (const auto& [tag, status] : drain(reader)) EXPECT_EQ(status.code(), StatusCode::kIo) << tag;
  reader.submit(blocks(sound));
  for (const auto& [tag, status] : drain(reader)) EXPECT_TRUE(status.ok()) << tag;
}

TEST_F(Decorators, RecordingKeepsEveryRequestAndReadsOn) {
  RecordingReader reader(base());
  const uint32_t one = reader.open(one_).value();
  const uint32_t two = reader.open(two_).value();
  EXPECT_EQ(reader.open(one_).value(), one);
  reader.submit(blocks(two));
  for (const auto& [tag, status] : drain(reader)) EXPECT_TRUE(status.ok()) << tag;
  ASSERT_EQ(reader.requests().size(), 4u);
  EXPECT_EQ(reader.requests()[3].offset, 3u * 4096);
  EXPECT_EQ(reader.requests()[3].tag, 3u);
  EXPECT_EQ(reader.paths().at(reader.requests()[0].file), two_);
  EXPECT_EQ(buffer_.data()[5], testing::pattern(5));
  reader.forget();
  EXPECT_TRUE(reader.requests().empty());
}

TEST_F(Decorators, PollingPassesThroughThem) {
  auto recording = std::make_unique<RecordingReader>(base());
  FaultyReader reader(std::move(recording), {.reads = {2}, .paths = {}});
  EXPECT_EQ(reader.poll(), std::nullopt);
  reader.submit(blocks(reader.open(one_).value()));
  std::map<uint64_t, bool> sound;
  while (sound.size() < 4) {
    if (const std::optional<ReadCompletion> completion = reader.poll()) {
      EXPECT_TRUE(sound.emplace(completion->tag, completion->status.ok()).second);
    }
  }
  EXPECT_EQ(sound, (std::map<uint64_t, bool>{{0, true}, {1, true}, {2, false}, {3, true}}));
  EXPECT_EQ(reader.poll(), std::nullopt);
  EXPECT_EQ(reader.wait(), std::nullopt);
}

TEST_F(Decorators, AwaitingCountsFailedReadsToo) {
  FaultyReader reader(base(), {.reads = {0, 1}, .paths = {}});
  reader.submit(blocks(reader.open(one_).value()));
  reader.await(4);
  std::map<uint64_t, bool> sound;
  for (int i = 0; i < 4; ++i) {
    const std::optional<ReadCompletion> completion = reader.poll();
    ASSERT_TRUE(completion.has_value()) << i;
    sound.emplace(completion->tag, completion->status.ok());
  }
  EXPECT_EQ(sound, (std::map<uint64_t, bool>{{0, false}, {1, false}, {2, true}, {3, true}}));
  reader.await(1);
  EXPECT_EQ(reader.poll(), std::nullopt);
}

TEST_F(Decorators, StackOnEachOther) {
  auto recording = std::make_unique<RecordingReader>(base());
  const RecordingReader* seen = recording.get();
  FaultyReader reader(std::move(recording), {.reads = {0}, .paths = {}});
  reader.submit(blocks(reader.open(one_).value()));
  EXPECT_EQ(drain(reader).size(), 4u);
  EXPECT_EQ(seen->requests().size(), 3u);  // the failed read never reached it
  EXPECT_EQ(reader.block_bytes(), 4096u);
  EXPECT_TRUE(reader.buffered_reason().has_value());
  EXPECT_GT(reader.busy_us(), 0);
}

}  // namespace
}  // namespace flashneuron
