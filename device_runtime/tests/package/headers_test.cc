#include <gtest/gtest.h>

#include <random>

#include "package/ffn_shard.h"
#include "package/predictor_file.h"
#include "scratch_package.h"

namespace flashneuron {
namespace {

constexpr auto kShard = FN_TEST_DATA "/tiny_package/ffn/bundled-none/layer_001.bundle.0001.ffn";
constexpr auto kPredictor = FN_TEST_DATA "/tiny_package/predictor/layer_001.pred";

std::vector<std::byte> bytes_of(const char* path) { return testing::to_bytes(testing::read_text(path)); }

TEST(FfnHeader, IsReadFromBytesThatPythonWrote) {
  const std::vector<std::byte> file = bytes_of(kShard);
  const Result<FfnShardHeader> header = parse_ffn_header(file, file.size(), "shard");
  ASSERT_TRUE(header.ok()) << header.status().message();
  EXPECT_EQ(header.value().part, FfnPart::kBundle);
  EXPECT_EQ(header.value().dtype, DType::kFp16);
  EXPECT_EQ(header.value().layer, 1u);
  EXPECT_EQ(header.value().first_neuron, header.value().neurons_per_shard);
  EXPECT_EQ(header.value().first_neuron + header.value().neuron_count, 96u);
  EXPECT_EQ(header.value().stride, 2u * 32 * 2);
}

TEST(FfnHeader, TheFirst64BytesAreEnough) {
  const std::vector<std::byte> file = bytes_of(kShard);
  EXPECT_TRUE(parse_ffn_header(std::span(file).first(64), file.size(), "shard").ok());
  EXPECT_EQ(parse_ffn_header(std::span(file).first(63), file.size(), "shard").status().code(), StatusCode::kCorrupt);
  EXPECT_EQ(parse_ffn_header({}, 0, "shard").status().code(), StatusCode::kCorrupt);
}

// Each single byte of the header is fixed by the file's size and place, but for the layer and the numbers that must
// agree with each other: any other value is refused.
TEST(FfnHeader, EveryChangedByteIsRefused) {
  const std::vector<std::byte> file = bytes_of(kShard);
  for (size_t offset = 0; offset < kFfnHeaderBytes; offset += offset < 64 ? 1 : 97) {
    if (offset >= 20 && offset < 24) continue;  // the layer: any is sound in itself
    for (const int mask : {1, 0x80}) {
      std::vector<std::byte> changed = file;
      changed[offset] ^= static_cast<std::byte>(mask);
      const Result<FfnShardHeader> header = parse_ffn_header(changed, changed.size(), "shard");
      EXPECT_FALSE(header.ok()) << offset;
    }
  }
}

TEST(FfnHeader, RandomHeadersNeverPassUnlessTheyFitTheFile) {
  const std::vector<std::byte> file = bytes_of(kShard);
  std::mt19937 random(3);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> head(file.begin(), file.begin() + 64);
    for (int change = 0; change < 3; ++change) head[12 + random() % 40] = static_cast<std::byte>(random());
    const Result<FfnShardHeader> header = parse_ffn_header(head, file.size(), "shard");
    if (!header.ok()) continue;
    const FfnShardHeader& shard = header.value();
    EXPECT_EQ(kFfnHeaderBytes + uint64_t{shard.neuron_count} * shard.stride, file.size());
    EXPECT_LE(shard.first_neuron + shard.neuron_count, shard.ffn_size);
  }
}

TEST(LowRank, IsReadFromBytesThatPythonWrote) {
  const Result<LowRankWeights> weights = read_lowrank(kPredictor, "predictor");
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  const LowRankWeights& predictor = weights.value();
  EXPECT_EQ(predictor.layer, 1u);
  EXPECT_EQ(predictor.hidden_size, 32u);
  EXPECT_EQ(predictor.ffn_size, 96u);
  EXPECT_EQ(predictor.rank, 4u);
  EXPECT_EQ(predictor.dtype, DType::kFp16);
  const std::vector<std::byte> file = bytes_of(kPredictor);
  // By the table of FORMAT.md: bias at 64, A at 64 + 4 × 96, B at the multiple of 64 after A, then the end.
  EXPECT_EQ(reinterpret_cast<const std::byte*>(predictor.bias()) - predictor.file.data(), 64);
  EXPECT_EQ(predictor.a() - predictor.file.data(), 448);
  EXPECT_EQ(predictor.b() - predictor.file.data(), 704);
  EXPECT_EQ(file.size(), 704u + 96 * 4 * 2);
  EXPECT_TRUE(std::equal(file.begin(), file.end(), predictor.file.data()));
}

TEST(LowRank, EveryChangedByteOfTheHeaderIsRefused) {
  const std::vector<std::byte> file = bytes_of(kPredictor);
  for (size_t offset = 0; offset < kLowRankHeaderBytes; ++offset) {
    if (offset >= 12 && offset < 16) continue;  // the layer: any is sound in itself
    std::vector<std::byte> changed = file;
    changed[offset] ^= std::byte{0x80};
    EXPECT_FALSE(parse_lowrank_header(changed, changed.size(), "predictor").ok()) << offset;
  }
}

TEST(LowRank, AMissingFileIsNamed) {
  const Status status = read_lowrank("/nowhere/layer.pred", "layer.pred").status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("/nowhere/layer.pred"), std::string::npos);
}

}  // namespace
}  // namespace flashneuron
