// The operator with linear biases as programs call it (tests/data/attention/op-alibi, written by
// tools/make-attention-fixtures) against what PyTorch computed. Programs of layers call the one without.
#include "attention/attention_op.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "attention/executorch_process.h"
#include "attention/executorch_program.h"
#include "attention/kv_cache.h"
#include "gtest/gtest.h"

namespace flashneuron {
namespace {

using executorch::aten::ScalarType;
using Floats = std::vector<float>;

constexpr int32_t kTokens = 20;
constexpr int32_t kMaxChunk = 8;
constexpr int32_t kContext = 24;
constexpr int32_t kQuery = 32;
constexpr int32_t kKv = 16;
constexpr uint32_t kKvHeads = 2;

struct Recorded {
  Floats q, k, v;
  Floats expected[3];  // by KvType
};

std::filesystem::path folder() { return std::filesystem::path(FN_TEST_DATA) / "attention" / "op-alibi"; }

Recorded read_recorded() {
  std::ifstream file(folder() / "recorded.bin", std::ios::binary);
  auto take = [&](size_t width) {
    Floats values(kTokens * width);
    file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
    return values;
  };
  Recorded recorded;
  recorded.q = take(kQuery);
  recorded.k = take(kKv);
  recorded.v = take(kKv);
  for (Floats& expected : recorded.expected) expected = take(kQuery);
  EXPECT_TRUE(file.good());
  EXPECT_EQ(file.peek(), std::ifstream::traits_type::eof());
  return recorded;
}

class AlibiProgram {
 public:
  AlibiProgram() : context_(nullptr), out_(kMaxChunk * kQuery) {
    set_up_executorch(2);
    auto opened = ExecutorchProgram::open((folder() / "op.pte").string(), "op.pte");
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    program_ = std::move(opened).value();
    context_.reserve(program_->planned_bytes().value());
    EXPECT_TRUE(context_.allocate().ok());
    const TensorView out{ScalarType::Float, {kMaxChunk, kQuery}, out_.data()};
    const Status loaded = program_->load(context_, {&out, 1});
    EXPECT_TRUE(loaded.ok()) << loaded.message();
  }

  // One call for `tokens` tokens from `position` on, over caches of kContext rows.
  Status run_once(Recorded& in, int32_t tokens, int64_t position, int32_t row_bytes, std::byte* keys,
                  std::byte* values) {
    const std::vector<TensorView> inputs{
        {ScalarType::Float, {tokens, kQuery}, &in.q[position * kQuery]},
        {ScalarType::Float, {tokens, kKv}, &in.k[position * kKv]},
        {ScalarType::Float, {tokens, kKv}, &in.v[position * kKv]},
        {ScalarType::Byte, {kContext, row_bytes}, keys},
        {ScalarType::Byte, {kContext, row_bytes}, values},
        {ScalarType::Long, {1}, &position},
    };
    return program_->run(inputs);
  }

  // The outputs of all tokens, cut into calls of `chunks`.
  Floats run(Recorded& in, KvType type, const std::vector<int32_t>& chunks) {
    KvCache kv = KvCache::create(1, kContext, {kKvHeads, kKv / kKvHeads, type}).value();
    Floats all;
    int64_t position = 0;
    for (const int32_t tokens : chunks) {
      const Status status =
          run_once(in, tokens, position, static_cast<int32_t>(kv.row_bytes()), kv.keys(0), kv.values(0));
      EXPECT_TRUE(status.ok()) << status.message();
      all.insert(all.end(), out_.begin(), out_.begin() + tokens * kQuery);
      kv.append(0, static_cast<uint32_t>(position), static_cast<uint32_t>(tokens), &in.k[position * kKv],
                &in.v[position * kKv]);
      position += tokens;
    }
    return all;
  }

 private:
  ProgramContext context_;
  Floats out_;
  std::unique_ptr<ExecutorchProgram> program_;
};

TEST(AttentionAlibi, ComputesWhatPytorchDoesHoweverTokensAreCut) {
  Recorded recorded = read_recorded();
  AlibiProgram program;
  for (const KvType type : {KvType::kFp32, KvType::kFp16, KvType::kInt8}) {
    const Floats out = program.run(recorded, type, {8, 1, 7, 4});
    const Floats& expected = recorded.expected[static_cast<int>(type)];
    ASSERT_EQ(out.size(), expected.size());
    // A value halfway between two integers may be rounded to either.
    const double tolerance = type == KvType::kInt8 ? 1e-3 : 1e-5;
    for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], expected[i], tolerance) << i;
    EXPECT_EQ(program.run(recorded, type, std::vector<int32_t>(kTokens, 1)), out);
  }
}

TEST(AttentionAlibi, RowsOfNoKnownElementAreRefused) {
  Recorded recorded = read_recorded();
  AlibiProgram program;
  std::vector<std::byte> cache(kContext * 4 * kKv);
  int64_t position = 0;
  for (const int32_t row_bytes : {kKv, 4 * kKv - 1}) {
    EXPECT_FALSE(program.run_once(recorded, 1, position, row_bytes, cache.data(), cache.data()).ok()) << row_bytes;
  }
  EXPECT_TRUE(program.run_once(recorded, 1, position, 4 * kKv, cache.data(), cache.data()).ok());
}

}  // namespace
}  // namespace flashneuron
