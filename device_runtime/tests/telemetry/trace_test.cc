#include "telemetry/trace.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "telemetry/allocations.h"

namespace flashneuron {
namespace {

TEST(Trace, AFullTrackDropsWhatComesLaterAndCountsIt) {
  SpanTrack track(2);
  TraceSpan* const token = track.open(SpanKind::kToken, 7, 10);
  track.close(track.open(SpanKind::kHead, 0, 12), 13);
  TraceSpan* const late = track.open(SpanKind::kSample, 0, 14);
  EXPECT_EQ(late, nullptr);
  track.close(late, 15);
  track.close(token, 20);
  ASSERT_EQ(track.spans().size(), 2u);
  EXPECT_EQ(track.dropped(), 1u);
  EXPECT_EQ(&track.spans()[0], token) << "places stay";
  EXPECT_EQ(token->number, 7u);
  EXPECT_EQ(token->end_us, 20);
  EXPECT_EQ(track.spans()[1].end_us, 13);
}

TEST(Trace, DepthTellsWhatEnclosesASpanAlsoWhereSomeWereDropped) {
  SpanTrack track(3);
  TraceSpan* const layer = track.open(SpanKind::kLayer, 0, 0);
  track.close(track.open(SpanKind::kAttention, 0, 0), 0);
  TraceSpan* const ffn = track.open(SpanKind::kFfn, 0, 0);
  TraceSpan* const dropped = track.open(SpanKind::kStall, 0, 0);
  track.close(dropped, 0);
  track.close(ffn, 0);
  track.close(layer, 0);
  EXPECT_EQ(track.spans()[0].depth, 0);
  EXPECT_EQ(track.spans()[1].depth, 1);
  EXPECT_EQ(track.spans()[2].depth, 1);
  EXPECT_EQ(track.dropped(), 1u);
}

TEST(Trace, TimedSpansAddUpToTheirCounter) {
  SpanTrack track(100);
  int64_t counted_us = 0;
  for (int span = 0; span < 100; ++span) {
    const TimedSpan outer(&track, SpanKind::kFfn, counted_us);
    for (const int64_t start_us = now_us(); now_us() < start_us + 20;) {
    }
  }
  int64_t spans_us = 0;
  for (const TraceSpan& span : track.spans()) spans_us += span.end_us - span.start_us;
  EXPECT_EQ(spans_us, counted_us);
  EXPECT_GE(counted_us, 2000);
}

TEST(Trace, NothingIsAllocatedWithoutATraceNorWhileOneIsRecorded) {
  Trace trace(0, {.spans = 10, .reads = 10});
  trace.start_workers(2);
  int64_t counted_us = 0;
  const size_t before = testing::allocations();
  ASSERT_GT(before, 0u) << "the counter counts";
  for (SpanTrack* track : {static_cast<SpanTrack*>(nullptr), &trace.compute()}) {
    for (int span = 0; span < 20; ++span) {
      const ScopedSpan token(track, SpanKind::kToken, 1);
      const TimedSpan head(track, SpanKind::kHead, counted_us);
    }
  }
  for (int read = 0; read < 20; ++read) trace.reads(1).add({});
  EXPECT_EQ(testing::allocations(), before);
  EXPECT_EQ(trace.compute().spans().size(), 10u);
  EXPECT_EQ(trace.dropped(), 30u + 15u);
}

TEST(Trace, EachThreadRecordsInItsOwnTrack) {
  constexpr size_t kThreads = 4;
  constexpr size_t kReads = 1000;
  Trace trace(0, {.spans = 1, .reads = kThreads * kReads});
  trace.start_workers(kThreads);
  std::vector<std::thread> threads;
  for (uint32_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&track = trace.reads(thread), thread] {
      for (uint64_t read = 0; read <= kReads; ++read) track.add({.file = thread, .bytes = 1, .offset = read});
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (uint32_t thread = 0; thread < kThreads; ++thread) {
    const std::vector<TraceRead>& reads = trace.reads(thread).items();
    ASSERT_EQ(reads.size(), kReads);
    for (uint64_t read = 0; read < kReads; ++read) {
      ASSERT_EQ(reads[read].file, thread);
      ASSERT_EQ(reads[read].offset, read);
    }
  }
  EXPECT_EQ(trace.dropped(), kThreads);
}

TEST(Trace, AFileOfSeveralLayersIsOfNone) {
  Trace trace(0);
  trace.name_file(2, "a", 0u);
  trace.name_file(3, "b", 0u);
  trace.name_file(3, "c", 1u);
  EXPECT_EQ(trace.file(2).name, "a");
  EXPECT_EQ(trace.file(2).layer, 0u);
  EXPECT_EQ(trace.file(3).name, "b");
  EXPECT_EQ(trace.file(3).layer, std::nullopt);
  EXPECT_EQ(trace.file(0).name, "");
  EXPECT_EQ(trace.file(99).name, "");
}

}  // namespace
}  // namespace flashneuron
