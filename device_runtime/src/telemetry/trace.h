// A trace: what each thread of one run did, from when to when.
//
// Each thread records into a track of its own, which is made before the thread needs it, so recording takes no lock and
// no memory. A track is bounded: once it is full, what comes later is dropped and counted. Without a trace nobody has a
// track, and a span costs one look at a null pointer. A track is read by others only once its thread has ended, or has
// handed over in a way that orders memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "telemetry/timer.h"

namespace flashneuron {

enum class SpanKind : uint8_t {
  kLoad,
  kPrefill,
  kToken,
  kLayer,
  kEmbed,
  kAttention,
  kPredict,
  kPredictNext,  // the layer after the one at hand
  kFfn,
  kMemory,
  kHead,
  kSample,
  kDraft,
  kStall,
};

// Spans of one track nest. Times are those of now_us().
struct TraceSpan {
  SpanKind kind = SpanKind::kLoad;
  uint16_t depth = 0;   // spans that enclose it
  uint32_t number = 0;  // of a layer: which one; of a token: its index; of the prefill: its tokens
  int64_t start_us = 0;
  int64_t end_us = 0;
};

// One read of flash by a worker.
struct TraceRead {
  uint32_t file = 0;  // the reader's number
  uint32_t bytes = 0;
  uint64_t offset = 0;
  int64_t submitted_us = 0;
  int64_t start_us = 0;
  int64_t end_us = 0;
};

template <typename Item>
class TraceBuffer {
 public:
  explicit TraceBuffer(size_t capacity) : capacity_(capacity) { items_.reserve(capacity); }
  TraceBuffer(TraceBuffer&&) = default;

  // The item's place, which stays; null if the buffer is full.
  Item* add(const Item& item) {
    if (items_.size() == capacity_) {
      ++dropped_;
      return nullptr;
    }
    return &items_.emplace_back(item);
  }
  const std::vector<Item>& items() const { return items_; }
  size_t dropped() const { return dropped_; }

 private:
  size_t capacity_;
  size_t dropped_ = 0;
  std::vector<Item> items_;  // never grows beyond what was reserved
};

using ReadTrack = TraceBuffer<TraceRead>;

// Spans in the order in which they began.
class SpanTrack {
 public:
  explicit SpanTrack(size_t capacity) : buffer_(capacity) {}

  // Null if the track is full; close() takes that too. Opened last, closed first.
  TraceSpan* open(SpanKind kind, uint32_t number, int64_t start_us) {
    return buffer_.add({kind, depth_++, number, start_us, start_us});
  }
  void close(TraceSpan* span, int64_t end_us) {
    --depth_;
    if (span != nullptr) span->end_us = end_us;
  }
  const std::vector<TraceSpan>& spans() const { return buffer_.items(); }
  size_t dropped() const { return buffer_.dropped(); }

 private:
  uint16_t depth_ = 0;
  TraceBuffer<TraceSpan> buffer_;
};

struct TraceCapacity {
  size_t spans = size_t{1} << 18;
  size_t reads = size_t{1} << 19;  // all workers together
};

// The tracks of one run, and the names of what they speak of. It outlives whoever records.
class Trace {
 public:
  struct File {
    std::string name;  // empty: nobody named it
    std::optional<uint32_t> layer;
  };

  explicit Trace(int64_t start_us, const TraceCapacity& capacity = {})
      : start_us_(start_us), capacity_(capacity), compute_(capacity.spans) {}

  int64_t start_us() const { return start_us_; }
  // Of the thread that computes.
  SpanTrack& compute() { return compute_; }
  const SpanTrack& compute() const { return compute_; }
  // Makes a track for each worker, before they start.
  void start_workers(size_t workers) {
    reads_.reserve(workers);
    while (reads_.size() < workers) reads_.emplace_back(capacity_.reads / std::max<size_t>(workers, 1));
  }
  ReadTrack& reads(size_t worker) { return reads_[worker]; }
  const std::vector<ReadTrack>& reads() const { return reads_; }
  // A file that serves several layers (equal content is stored once) is of none.
  void name_file(uint32_t number, const std::string& name, std::optional<uint32_t> layer);
  File file(uint32_t number) const { return number < files_.size() ? files_[number] : File{}; }
  size_t dropped() const;

 private:
  int64_t start_us_;
  TraceCapacity capacity_;
  SpanTrack compute_;
  std::vector<ReadTrack> reads_;
  std::vector<File> files_;  // by number
};

// A span from construction to destruction; nothing without a track.
class ScopedSpan {
 public:
  ScopedSpan(SpanTrack* track, SpanKind kind, uint32_t number = 0) : track_(track) {
    if (track_ != nullptr) span_ = track_->open(kind, number, now_us());
  }
  ~ScopedSpan() {
    if (track_ != nullptr) track_->close(span_, now_us());
  }
  ScopedSpan(const ScopedSpan&) = delete;
  ScopedSpan& operator=(const ScopedSpan&) = delete;

 private:
  SpanTrack* track_;
  TraceSpan* span_ = nullptr;
};

// A ScopedTimer whose time is a span too, of the same microseconds: spans of a kind add up to its counter.
class TimedSpan {
 public:
  TimedSpan(SpanTrack* track, SpanKind kind, int64_t& sink_us, uint32_t number = 0)
      : track_(track), sink_us_(sink_us), start_us_(now_us()) {
    if (track_ != nullptr) span_ = track_->open(kind, number, start_us_);
  }
  ~TimedSpan() {
    const int64_t end_us = now_us();
    sink_us_ += end_us - start_us_;
    if (track_ != nullptr) track_->close(span_, end_us);
  }
  TimedSpan(const TimedSpan&) = delete;
  TimedSpan& operator=(const TimedSpan&) = delete;

 private:
  SpanTrack* track_;
  TraceSpan* span_ = nullptr;
  int64_t& sink_us_;
  int64_t start_us_;
};

}  // namespace flashneuron
