// Rows of the embedding table come from flash one by one; a resident table gives the same.
#include "decode/embedding.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "flash/flash_reader.h"
#include "support/tiny_package.h"

namespace flashneuron::testing {
namespace {

// Two rows share a block of 4 KiB, so that neighbours share reads and others do not.
const TinyPackageOptions kOptions{.layers = 1, .hidden_size = 1024, .ffn_size = 8, .vocab_size = 40, .max_context = 32};
constexpr int64_t kRowBytes = 2048;  // fp16
const std::vector<int32_t> kIds{1, 7, 30, 4, 4, 39, 0, 18, 5};

struct Embedded {
  std::vector<float> values;
  Counters counters;
};

Embedded embed(Embedding& embedding, const std::vector<int32_t>& ids, uint32_t position) {
  Embedded out{std::vector<float>(ids.size() * kOptions.hidden_size, 7.0f), {}};
  const Status status = embedding.embed(ids, position, out.values, out.counters);
  EXPECT_TRUE(status.ok()) << status.message();
  return out;
}

class EmbeddingRows : public ::testing::Test {
 protected:
  Embedding on_flash(uint64_t staging_bytes = 512 * 1024) {
    batch_.emplace(queue_, AlignedBuffer::create(staging_bytes).value());
    return Embedding::open(package_, *batch_).value();
  }
  Embedding in_dram() {
    Embedding embedding = on_flash();
    EXPECT_TRUE(embedding.load(package_).ok());
    return embedding;
  }

  const TinyPackage files_{kOptions};
  const Package package_ = Package::open(files_.folder(), std::nullopt).value();
  std::unique_ptr<FlashReader> reader_ = make_pread_reader({.workers = 2});
  ReadQueue queue_{*reader_};
  std::optional<ReadBatch> batch_;
};

TEST_F(EmbeddingRows, AreTokensPlusPositionsFromFlashAndFromDram) {
  Embedding flash = on_flash();
  Embedding resident = in_dram();
  for (const uint32_t position : {0u, 11u}) {
    const Embedded read = embed(flash, kIds, position);
    const std::vector<float>& table = files_.embedding();
    for (size_t t = 0; t < kIds.size(); ++t) {
      const size_t token = static_cast<size_t>(kIds[t]) * kOptions.hidden_size;
      const size_t row = (kOptions.vocab_size + position + t) * kOptions.hidden_size;
      for (size_t i = 0; i < kOptions.hidden_size; ++i) {
        ASSERT_EQ(read.values[t * kOptions.hidden_size + i], table[token + i] + table[row + i]) << t << " " << i;
      }
    }
    const Embedded held = embed(resident, kIds, position);
    EXPECT_EQ(held.values, read.values);
    EXPECT_EQ(held.counters.bytes_read, 0);
  }
}

TEST_F(EmbeddingRows, OfOneTokenCostTheirBlocksOnly) {
  Embedding flash = on_flash();
  const Counters cost = embed(flash, {30}, 3).counters;
  EXPECT_EQ(cost.bytes_wanted, 2 * kRowBytes);
  EXPECT_EQ(cost.requests, 2);
  EXPECT_EQ(cost.bytes_read, 2 * int64_t{reader_->block_bytes()});
}

TEST_F(EmbeddingRows, OfAChunkAreReadTogetherAndEachOnce) {
  Embedding flash = on_flash();
  const Counters cost = embed(flash, kIds, 0).counters;
  const int64_t distinct = 8 + static_cast<int64_t>(kIds.size());  // one token comes twice; positions are neighbours
  EXPECT_EQ(cost.bytes_wanted, distinct * kRowBytes);
  EXPECT_LT(cost.requests, distinct);
  std::vector<int32_t> all(kOptions.vocab_size - 8);  // as many as there are positions
  std::iota(all.begin(), all.end(), 0);
  EXPECT_LE(embed(flash, all, 0).counters.requests, 2) << "neighbours share reads";
}

TEST_F(EmbeddingRows, ComeInSeveralRoundsWhereStagingIsSmall) {
  Embedding resident = in_dram();
  const std::vector<float> expected = embed(resident, kIds, 0).values;
  Embedding flash = on_flash(ReadBatch::worst_bytes(kRowBytes, AlignedBuffer::kAlignment));
  EXPECT_EQ(embed(flash, kIds, 0).values, expected);
}

}  // namespace
}  // namespace flashneuron::testing
