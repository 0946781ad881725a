#include "flash/whole_read.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "flash_files.h"

namespace flashneuron {
namespace {

using testing::pattern;

// A file in memory whose reads answer with errors and short counts from a script, then whole.
class ScriptedFile {
 public:
  ScriptedFile(uint64_t bytes, std::vector<ssize_t> script) : bytes_(bytes), script_(std::move(script)) {}

  ssize_t pread(std::byte* destination, size_t bytes, uint64_t offset) {
    EXPECT_EQ(offset % 4096, 0u) << "a direct read starts at a block";
    EXPECT_EQ(bytes % 4096, 0u);
    ssize_t count = static_cast<ssize_t>(std::min<uint64_t>(bytes, bytes_ - std::min(offset, bytes_)));
    if (calls_ < script_.size()) count = std::min(count, script_[calls_]);
    ++calls_;
    for (ssize_t i = 0; i < count; ++i) destination[i] = pattern(offset + static_cast<uint64_t>(i));
    return count;
  }

  size_t calls() const { return calls_; }

 private:
  uint64_t bytes_;
  std::vector<ssize_t> script_;
  size_t calls_ = 0;
};

class WholeRead : public ::testing::Test {
 protected:
  // 4 blocks from the second on.
  Status read(ScriptedFile& file, uint64_t stated_bytes) {
    std::fill_n(buffer_.data(), kLength, std::byte{0});
    const ReadRequest request{.file = 0, .offset = 4096, .length = kLength, .destination = buffer_.data(), .tag = 0};
    return read_whole([&](std::byte* d, size_t n, uint64_t o) { return file.pread(d, n, o); }, request, stated_bytes,
                      4096);
  }
  bool filled(uint64_t bytes) const {
    for (uint64_t i = 0; i < bytes; ++i) {
      if (buffer_.data()[i] != pattern(4096 + i)) return false;
    }
    return true;
  }

  static constexpr uint32_t kLength = 4 * 4096;
  AlignedBuffer buffer_ = testing::memory(kLength);
};

TEST_F(WholeRead, InterruptedReadsAreRepeated) {
  ScriptedFile file(1 << 20, {-EINTR, -EINTR});
  EXPECT_TRUE(read(file, 1 << 20).ok());
  EXPECT_EQ(file.calls(), 3u);
  EXPECT_TRUE(filled(kLength));
}

TEST_F(WholeRead, ShortReadsGoOnFromTheBlockTheyBrokeOffIn) {
  ScriptedFile file(1 << 20, {5000, -EINTR, 4096, 8191});
  EXPECT_TRUE(read(file, 1 << 20).ok());
  EXPECT_EQ(file.calls(), 5u);
  EXPECT_TRUE(filled(kLength));
}

TEST_F(WholeRead, EndsAtTheFilesEnd) {
  ScriptedFile file(4096 + 13000, {4096});
  EXPECT_TRUE(read(file, 4096 + 13000).ok());
  EXPECT_TRUE(filled(13000));
}

TEST_F(WholeRead, AnErrorIsReportedWithItsPlace) {
  ScriptedFile file(1 << 20, {4096, -EIO});
  const Status status = read(file, 1 << 20);
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_NE(status.message().find("16384 bytes at 4096"), std::string::npos) << status.message();
}

TEST_F(WholeRead, AFileShorterThanItWasIsAnError) {
  ScriptedFile cut(10000, {});
  EXPECT_EQ(read(cut, 1 << 20).code(), StatusCode::kIo);
  ScriptedFile gone(0, {});
  EXPECT_EQ(read(gone, 1 << 20).code(), StatusCode::kIo);
}

TEST_F(WholeRead, NothingIsReadPastTheEnd) {
  ScriptedFile file(8192, {});
  EXPECT_EQ(read(file, 8192).code(), StatusCode::kIo);
  EXPECT_EQ(read(file, 4096).code(), StatusCode::kIo);
  EXPECT_EQ(file.calls(), 0u);
}

}  // namespace
}  // namespace flashneuron
