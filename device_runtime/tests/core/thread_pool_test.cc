#include "core/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

namespace flashneuron {
namespace {

class ThreadPoolOf : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolOf, CoversEveryIndexOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  for (const size_t count : {0, 1, 2, 63, 64, 65, 1000, 4096}) {
    std::vector<int> visits(count, 0);
    pool.parallel_for(count, 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) ++visits[i];
    });
    EXPECT_EQ(visits, std::vector<int>(count, 1)) << count;
  }
}

TEST_P(ThreadPoolOf, RangesAreAtLeastTheGrainButTheLast) {
  ThreadPool pool(GetParam());
  std::mutex mutex;
  std::set<std::pair<size_t, size_t>> ranges;
  pool.parallel_for(1001, 100, [&](size_t begin, size_t end) {
    const std::lock_guard lock(mutex);
    ranges.emplace(begin, end);
  });
  size_t next = 0;
  for (const auto& [begin, end] : ranges) {
    EXPECT_EQ(begin, next);
    EXPECT_TRUE(end - begin >= 100 || end == 1001) << begin << " " << end;
    next = end;
  }
  EXPECT_EQ(next, 1001u);
}

TEST_P(ThreadPoolOf, ManyShortLoopsSeeEachOthersWrites) {
  ThreadPool pool(GetParam());
  std::vector<uint64_t> values(257, 0);
  for (int loop = 0; loop < 2000; ++loop) {
    pool.parallel_for(values.size(), 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) values[i] += i;
    });
    // The caller writes between loops without a lock.
    values[static_cast<size_t>(loop) % values.size()] += 1;
  }
  const uint64_t sum = std::accumulate(values.begin(), values.end(), uint64_t{0});
  EXPECT_EQ(sum, uint64_t{2000} * (256 * 257 / 2) + 2000);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolOf, testing::Values(1, 2, 3, 8));

TEST(ThreadPool, WorkersTakePart) {
  ThreadPool pool(3);
  std::barrier meeting(3);  // passes only if three threads are inside at once
  std::mutex mutex;
  std::set<std::thread::id> threads;
  pool.parallel_for(3, 1, [&](size_t, size_t) {
    meeting.arrive_and_wait();
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(threads.size(), 3u);
  EXPECT_TRUE(threads.contains(std::this_thread::get_id()));
}

TEST(ThreadPool, StartsAndStopsWithoutWork) {
  for (int round = 0; round < 50; ++round) ThreadPool pool(4);
}

}  // namespace
}  // namespace flashneuron
