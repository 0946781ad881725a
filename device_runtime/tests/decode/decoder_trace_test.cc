// A trace agrees with the counters, and changes nothing.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "decode/rig.h"
#include "telemetry/trace.h"

namespace flashneuron::testing {
namespace {

const std::vector<int32_t> kPrompt{1, 7, 30, 4, 4, 9, 2, 18, 5, 11, 3};

std::vector<RigOptions> variations() {
  const RigOptions cached{.predictor = PredictorKind::kOracle, .window = 2, .capacity_rows = 37};
  RigOptions apart = cached;
  apart.overlap = false;
  RigOptions split = cached;
  split.layout = Layout::kSplit;
  split.threads = 3;
  return {
      {.residency = Residency::kNaive}, {.residency = Residency::kHybrid, .capacity_rows = 50}, cached, apart, split};
}

TEST(DecoderTrace, LeavesEveryBitAsItWas) {
  const TinyPackage files;
  for (RigOptions options : variations()) {
    const std::vector<float> expected = Rig(files, options).run(kPrompt, 6);
    Trace trace(0);
    options.trace = &trace;
    const std::vector<float> traced = Rig(files, options).run(kPrompt, 6);
    ASSERT_EQ(traced.size(), expected.size());
    EXPECT_EQ(std::memcmp(traced.data(), expected.data(), traced.size() * sizeof(float)), 0);
    EXPECT_FALSE(trace.compute().spans().empty());
  }
}

TEST(DecoderTrace, SpansAddUpToTheCountersAndNest) {
  const TinyPackage files;
  for (RigOptions options : variations()) {
    Trace trace(now_us());
    options.trace = &trace;
    auto rig = std::make_unique<Rig>(files, options);
    const size_t loaded = trace.compute().spans().size();  // stalls of what is loaded first
    const int64_t start_us = now_us();
    rig->run(kPrompt, 6);
    const Counters counters = rig->decoder().take_counters();
    rig.reset();

    std::map<SpanKind, int64_t> sums_us;
    std::vector<TraceSpan> open;
    for (size_t i = loaded; i < trace.compute().spans().size(); ++i) {
      const TraceSpan& span = trace.compute().spans()[i];
      sums_us[span.kind] += span.end_us - span.start_us;
      ASSERT_LE(span.start_us, span.end_us);
      ASSERT_LE(span.depth, open.size());
      open.resize(span.depth);
      if (!open.empty()) {
        ASSERT_GE(span.start_us, open.back().start_us);
        ASSERT_LE(span.end_us, open.back().end_us);
      }
      open.push_back(span);
    }
    EXPECT_EQ(sums_us[SpanKind::kAttention], counters.attention_us);
    EXPECT_EQ(sums_us[SpanKind::kPredict] + sums_us[SpanKind::kPredictNext], counters.predictor_us);
    EXPECT_EQ(sums_us[SpanKind::kFfn], counters.ffn_us);
    EXPECT_EQ(sums_us[SpanKind::kMemory], counters.memory_us);
    EXPECT_EQ(sums_us[SpanKind::kHead], counters.head_us);
    EXPECT_EQ(sums_us[SpanKind::kStall], counters.stall_us);

    int64_t bytes = 0, requests = 0;
    for (const ReadTrack& track : trace.reads()) {
      int64_t before_us = 0;  // the end of the worker's last read
      for (const TraceRead& read : track.items()) {
        ASSERT_LE(read.submitted_us, read.start_us);
        ASSERT_LE(before_us, read.start_us);
        ASSERT_LE(read.start_us, read.end_us);
        before_us = read.end_us;
        if (read.submitted_us < start_us) continue;
        bytes += read.bytes;
        ++requests;
      }
    }
    EXPECT_EQ(bytes, counters.bytes_read);
    EXPECT_EQ(requests, counters.requests);
    EXPECT_EQ(trace.dropped(), 0u);
  }
}

}  // namespace
}  // namespace flashneuron::testing
