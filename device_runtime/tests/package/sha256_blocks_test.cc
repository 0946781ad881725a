// SHA-256's two compressions against each other; sha256_test.cc has the standard's vectors.
#include "package/sha256_blocks.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "support/random.h"

namespace flashneuron {
namespace {

TEST(Sha256Blocks, BothWaysAgreeOnAnyStateNumberAndAddress) {
  ASSERT_TRUE(has_sha256_instructions());
  testing::Random random(7);
  for (const size_t blocks : {0, 1, 2, 3, 17}) {
    for (const size_t offset : {0, 1, 3, 8}) {
      std::vector<std::byte> data(offset + 64 * blocks);
      for (std::byte& byte : data) byte = static_cast<std::byte>(random.below(256));
      std::array<uint32_t, 8> one;
      for (uint32_t& word : one) word = static_cast<uint32_t>(random.bits());
      std::array<uint32_t, 8> other = one;
      sha256_blocks_by_instructions(one.data(), data.data() + offset, blocks);
      sha256_blocks_portable(other.data(), data.data() + offset, blocks);
      EXPECT_EQ(one, other) << blocks << " blocks at offset " << offset;
    }
  }
}

}  // namespace
}  // namespace flashneuron
