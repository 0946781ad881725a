// Byte ranges of flash files on their way into a staging area: planned together, read in any order, taken one by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/align.h"
#include "core/aligned_buffer.h"
#include "flash/flash_reader.h"
#include "flash/read_plan.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"
#include "telemetry/trace.h"

namespace flashneuron {

// What the device's flash curve says of reads.
struct ReadTuning {
  uint32_t max_gap_bytes = 0;         // gaps up to this are read across
  uint32_t max_read_bytes = 1 << 20;  // large reads saturate flash; longer ones only delay the first completion
};

// All reads in flight from one reader, whichever batch they belong to. One thread uses a queue and its batches.
class ReadQueue {
 public:
  // `reader` and `spans` must outlive the queue, and the queue its batches. `spans` is the track of the thread that
  // uses the queue; null: it is not traced.
  explicit ReadQueue(FlashReader& reader, ReadTuning tuning = {}, SpanTrack* spans = nullptr)
      : reader_(reader), tuning_(tuning), spans_(spans) {}
  ReadQueue(const ReadQueue&) = delete;
  ReadQueue& operator=(const ReadQueue&) = delete;

  FlashReader& reader() { return reader_; }
  const ReadTuning& tuning() const { return tuning_; }
  SpanTrack* spans() { return spans_; }
  // Tells batches of the reads that have completed, without waiting.
  void poll();
  // Wall time so far with any read outstanding.
  int64_t busy_us() const { return reader_.busy_us(); }

 private:
  friend class ReadBatch;
  // What a tag points to while its read is in flight.
  struct Pending {
    bool done = true;
    Status status;
  };
  // Waits for the next completion. Precondition: one is outstanding.
  void wait();

  FlashReader& reader_;
  ReadTuning tuning_;
  SpanTrack* spans_;
};

class ReadBatch {
 public:
  // Reads into `staging`.
  ReadBatch(ReadQueue& queue, AlignedBuffer staging) : queue_(&queue), staging_(std::move(staging)) {}
  ReadBatch(ReadBatch&&) = default;
  ReadBatch& operator=(ReadBatch&&) = delete;
  // Waits for what is in flight, since it is written into the staging area.
  ~ReadBatch();

  // Plans `wanted` (sorted by file and offset, not overlapping) and returns the staging that it takes; more than
  // staging_bytes() cannot be submitted. What the batch held before is forgotten, once its reads are over (stall_us).
  uint64_t plan(std::span<const Extent> wanted, Counters& counters);
  // Starts the planned reads and returns at once. Adds requests, bytes_read and bytes_wanted to `counters`.
  void submit(Counters& counters);
  // Whether an extent of the plan can be read at at(); `extent` is its index in `wanted`. Never true if its read
  // failed.
  bool arrived(size_t extent) const {
    const ReadQueue::Pending& read = reads_[read_of_[extent]];
    return read.done && read.status.ok();
  }
  // Waits for one extent, or for all; the wait is stall_us. Error: kIo.
  Status wait(size_t extent, Counters& counters);
  Status wait_all(Counters& counters);
  // Valid once it arrived, until the next plan().
  const std::byte* at(size_t extent) const { return places_[extent]; }

  // How many extents, from the first on, fit.
  size_t fitting(std::span<const Extent> wanted) const;
  uint64_t staging_bytes() const { return staging_.size(); }
  ReadQueue& queue() { return *queue_; }
  // What a batch with such a staging area plans by.
  static ReadPlanRules rules(const ReadTuning& tuning, uint32_t block_bytes, uint64_t staging_bytes);
  // Staging that one extent of `length` bytes can take, rounded out to blocks.
  static uint64_t worst_bytes(uint64_t length, uint32_t block_bytes);

 private:
  // Asked anew each time: the reader's block may rise when a file is opened.
  ReadPlanRules rules() const;
  Status wait_until(size_t first, size_t last, Counters& counters);

  ReadQueue* queue_;
  AlignedBuffer staging_;
  std::vector<Extent> wanted_;
  std::vector<PlannedRead> plan_;
  std::vector<uint32_t> read_of_;          // by extent
  std::vector<const std::byte*> places_;   // by extent
  std::vector<ReadQueue::Pending> reads_;  // by planned read; tags point here, so it never grows while in flight
  std::vector<ReadRequest> requests_;
};

// The staging areas of a decode loop, equal shares of one budget: reads on demand in two that take turns (one arrives
// while the other is computed from), early reads for the layer at hand and for the next one.
struct Staging {
  // In large pages where `bytes` is a whole number of them. Error: kOutOfMemory.
  static Result<Staging> create(ReadQueue& queue, uint64_t bytes);
  // Of each area.
  static uint64_t share(uint64_t bytes) { return round_down(bytes / 4, AlignedBuffer::kAlignment); }

  ReadBatch demand[2];
  ReadBatch early[2];
};

}  // namespace flashneuron
