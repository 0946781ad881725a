#include "attention/kv_cache.h"

#include <array>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/kernels.h"

namespace flashneuron {
namespace {

std::vector<float> row_of(const std::byte* matrix, const KvCache& cache, uint32_t row, DType element, size_t count) {
  std::vector<float> values(count);
  kernels::to_fp32(matrix + size_t{row} * cache.row_bytes(), element, values.data(), count);
  return values;
}

TEST(KvCache, KeepsRowsOfEachLayerApart) {
  Result<KvCache> cache = KvCache::create(2, 5, {1, 3, KvType::kFp32});
  ASSERT_TRUE(cache.ok());
  KvCache& kv = cache.value();
  EXPECT_EQ(kv.row_bytes(), 12u);
  const std::array<float, 6> k{1, 2, 3, 4, 5, 6};
  const std::array<float, 6> v{7, 8, 9, 10, 11, 12};
  kv.append(0, 3, 2, k.data(), v.data());
  kv.append(1, 3, 2, v.data(), k.data());
  EXPECT_EQ(row_of(kv.keys(0), kv, 4, DType::kFp32, 3), (std::vector<float>{4, 5, 6}));
  EXPECT_EQ(row_of(kv.values(0), kv, 3, DType::kFp32, 3), (std::vector<float>{7, 8, 9}));
  EXPECT_EQ(row_of(kv.keys(1), kv, 3, DType::kFp32, 3), (std::vector<float>{7, 8, 9}));
}

TEST(KvCache, RoundsToFp16) {
  Result<KvCache> cache = KvCache::create(1, 1, {1, 2, KvType::kFp16});
  ASSERT_TRUE(cache.ok());
  KvCache& kv = cache.value();
  EXPECT_EQ(kv.row_bytes(), 4u);
  const std::array<float, 2> k{1.0f + 1.0f / 4096, -0.1f};
  kv.append(0, 0, 1, k.data(), k.data());
  EXPECT_EQ(row_of(kv.keys(0), kv, 0, DType::kFp16, 2), (std::vector<float>{1.0f, -0.0999755859375f}));
}

TEST(KvCache, RoundsToInt8WithAScaleForEachHead) {
  const KvRow row{2, 5, KvType::kInt8};
  EXPECT_EQ(row.bytes(), 10u + 2 * 4u);
  Result<KvCache> cache = KvCache::create(1, 2, row);
  ASSERT_TRUE(cache.ok());
  KvCache& kv = cache.value();
  const std::array<float, 20> k{-254, 1, 3, 5, 100, 0.0625f, 0.5f, -0.25f, 0, 1.27f};  // token 1: zeros
  kv.append(0, 0, 2, k.data(), k.data());
  for (const std::byte* first : {kv.keys(0), kv.values(0)}) {
    EXPECT_EQ(row.scale(first, 0), 2.0f);  // 254 / 127
    EXPECT_FLOAT_EQ(row.scale(first, 1), 0.01f);
    std::vector<float> integers(5);
    kernels::to_fp32(row.head(first, 0), row.element(), integers.data(), 5);
    EXPECT_EQ(integers, (std::vector<float>{-127, 0, 2, 2, 50}));  // halves to even
    kernels::to_fp32(row.head(first, 1), row.element(), integers.data(), 5);
    EXPECT_EQ(integers, (std::vector<float>{6, 50, -25, 0, 127}));
    const std::byte* second = first + row.bytes();
    EXPECT_EQ(row.scale(second, 1), 0.0f);
    kernels::to_fp32(row.head(second, 1), row.element(), integers.data(), 5);
    EXPECT_EQ(integers, std::vector<float>(5));
  }
}

TEST(KvCache, BytesCountWholePages) {
  EXPECT_EQ(KvCache::bytes(3, 100, {4, 16, KvType::kFp16}), 3u * 32768u);
  EXPECT_EQ(KvCache::bytes(3, 100, {4, 16, KvType::kFp32}), 3u * 65536u);
  EXPECT_EQ(KvCache::bytes(3, 200, {4, 16, KvType::kInt8}), 3u * 32768u);  // rows of 64 + 4 × 4 bytes
}

}  // namespace
}  // namespace flashneuron
