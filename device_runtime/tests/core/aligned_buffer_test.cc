#include "core/aligned_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>

// Let sanitizers answer an allocation that is too large as malloc does, instead of ending the process.
extern "C" const char* __asan_default_options();                                           // NOLINT
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }  // NOLINT
extern "C" const char* __tsan_default_options();                                           // NOLINT
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }  // NOLINT

namespace flashneuron {
namespace {

TEST(AlignedBuffer, StartsAtItsAlignmentAndIsRoundedUpToIt) {
  for (const size_t bytes : {size_t{1}, size_t{16384}, size_t{16385}}) {
    Result<AlignedBuffer> buffer = AlignedBuffer::create(bytes);
    ASSERT_TRUE(buffer.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.value().data()) % AlignedBuffer::kAlignment, 0u);
    EXPECT_EQ(buffer.value().size(), bytes > 16384 ? 32768u : 16384u);
    for (std::byte& value : buffer.value().span()) value = std::byte{7};
  }
}

TEST(AlignedBuffer, ALargeOneIsRoundedUpNoMoreThanASmallOne) {
  const size_t bytes = (size_t{32} << 20) + 5;
  Result<AlignedBuffer> buffer = AlignedBuffer::create(bytes);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.value().data()) % AlignedBuffer::kAlignment, 0u);
  EXPECT_EQ(buffer.value().size(), (size_t{32} << 20) + AlignedBuffer::kAlignment);
  std::fill(buffer.value().span().begin(), buffer.value().span().end(), std::byte{7});
  EXPECT_EQ(buffer.value().span().back(), std::byte{7});
}

TEST(AlignedBuffer, MovesItsMemory) {
  AlignedBuffer first = std::move(AlignedBuffer::create(100)).value();
  const std::byte* data = first.data();
  const AlignedBuffer second = std::move(first);
  EXPECT_EQ(second.data(), data);
}

TEST(AlignedBuffer, EmptyHoldsNothing) {
  Result<AlignedBuffer> buffer = AlignedBuffer::create(0);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(buffer.value().size(), 0u);
}

TEST(AlignedBuffer, WhatIsNotUsedAnyMoreIsGivenBackAndWhatIsUsedStays) {
  for (const size_t bytes : {size_t{100'000}, (size_t{40} << 20) + 5}) {
    AlignedBuffer buffer = std::move(AlignedBuffer::reserve(bytes)).value();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % AlignedBuffer::kAlignment, 0u);
    EXPECT_GE(buffer.size(), bytes);
    buffer.use(bytes);
    std::fill_n(buffer.data(), bytes, std::byte{7});
    buffer.use(bytes / 2);
    EXPECT_TRUE(std::all_of(buffer.data(), buffer.data() + bytes / 2, [](std::byte b) { return b == std::byte{7}; }));
    EXPECT_EQ(buffer.data()[bytes - 1], std::byte{0}) << "its page was given back";
    buffer.use(bytes);
    std::fill_n(buffer.data(), bytes, std::byte{9});
  }
}

TEST(AlignedBuffer, TooMuchIsAnError) {
  for (const size_t bytes : {SIZE_MAX, SIZE_MAX / 2, size_t{1} << 60}) {
    EXPECT_EQ(AlignedBuffer::create(bytes).status().code(), StatusCode::kOutOfMemory) << bytes;
    EXPECT_EQ(AlignedBuffer::reserve(bytes).status().code(), StatusCode::kOutOfMemory) << bytes;
  }
}

}  // namespace
}  // namespace flashneuron
