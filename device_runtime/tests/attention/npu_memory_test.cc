#include "attention/npu_memory.h"

#include <cstdlib>
#include <set>
#include <utility>
#include <vector>

#include "attention/kv_cache.h"
#include "attention/npu_attention.h"
#include "gtest/gtest.h"

namespace flashneuron {
namespace {

// A driver's books, global as a driver's are: allocators are plain functions.
struct Driver {
  std::set<void*> blocks;
  std::vector<std::pair<void*, void*>> tensors;  // and the block that each lies in
  size_t left = 0;                               // blocks that it still gives
} driver;

NpuAllocator driver_of(size_t blocks) {
  driver = {.blocks = {}, .tensors = {}, .left = blocks};
  return {[](size_t bytes, size_t alignment) -> void* {
            if (driver.left == 0) return nullptr;
            --driver.left;
            return *driver.blocks.insert(std::aligned_alloc(alignment, bytes)).first;
          },
          [](void* block) {
            EXPECT_EQ(driver.blocks.erase(block), 1u);
            std::free(block);
          },
          [](void* tensor, void* block) { driver.tensors.emplace_back(tensor, block); }};
}

class NoGraphs final : public StaticGraphs {
 public:
  Result<StaticOutputs> run(uint32_t, uint32_t, uint32_t, const StaticCall&) override { return StaticOutputs{}; }
  Status head(const float*, const float*, std::span<float>) override { return {}; }
};

AttentionFacts facts() {
  AttentionFacts facts;
  facts.contexts = {8};
  facts.max_chunk = 1;
  return facts;
}

TEST(NpuMemory, ACacheLiesInItAndItsTensorsAreKnown) {
  NpuAttention attention(ModelFacts{}, facts(), std::make_unique<NoGraphs>(), NpuMemory::create(driver_of(9)));
  ASSERT_NE(attention.kv_memory(), nullptr);
  Result<KvCache> made = KvCache::create(2, 5, {7, 1, KvType::kFp16}, attention.kv_memory());
  ASSERT_TRUE(made.ok());
  KvCache& kv = made.value();
  ASSERT_EQ(driver.tensors.size(), 4u);
  for (uint32_t layer = 0; layer < 2; ++layer) {
    EXPECT_EQ(driver.tensors[2 * layer].first, kv.keys(layer));
    EXPECT_EQ(driver.tensors[2 * layer + 1].first, kv.values(layer));
    for (uint32_t i : {2 * layer, 2 * layer + 1}) {
      EXPECT_EQ(driver.tensors[i].second, kv.keys(layer));  // a layer's block begins with its keys
      EXPECT_TRUE(driver.blocks.contains(driver.tensors[i].second));
    }
  }
}

TEST(NpuMemory, BlocksComeBackAtTheirOldAddresses) {
  std::unique_ptr<NpuMemory> memory = NpuMemory::create(driver_of(3));
  const auto cache = [&] { return KvCache::create(2, 64, {1, 64, KvType::kFp16}, memory.get()); };
  std::set<std::byte*> first;
  {
    Result<KvCache> kv = cache();
    ASSERT_TRUE(kv.ok());
    first = {kv.value().keys(0), kv.value().keys(1)};
  }
  Result<KvCache> again = cache();  // the driver has no further block to give
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((std::set<std::byte*>{again.value().keys(0), again.value().keys(1)}), first);
  EXPECT_EQ(cache().status().code(), StatusCode::kOutOfMemory);
}

TEST(NpuMemory, EverythingGoesWithTheLastUser) {
  std::unique_ptr<NpuMemory> memory = NpuMemory::create(driver_of(9));
  {
    Result<KvCache> kv = KvCache::create(1, 4, {1, 4, KvType::kFp16}, memory.get());
    memory.reset();
    EXPECT_FALSE(driver.blocks.empty());
  }
  EXPECT_TRUE(driver.blocks.empty());
}

TEST(NpuMemory, ADeviceWithoutItIsToldAtOnce) { EXPECT_EQ(NpuMemory::create(driver_of(0)), nullptr); }

TEST(NpuMemory, WithoutItACacheLiesOnTheHeap) {
  NpuAttention attention(ModelFacts{}, facts(), std::make_unique<NoGraphs>());
  EXPECT_EQ(attention.kv_memory(), nullptr);
}

}  // namespace
}  // namespace flashneuron
