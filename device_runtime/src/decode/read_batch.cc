#include "decode/read_batch.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "core/align.h"
#include "telemetry/trace.h"

namespace flashneuron {
void ReadQueue::poll() {
  while (std::optional<ReadCompletion> done = reader_.poll()) {
    *reinterpret_cast<Pending*>(done->tag) = {true, std::move(done->status)};
  }
}

void ReadQueue::wait() {
  if (std::optional<ReadCompletion> done = reader_.wait()) {
    *reinterpret_cast<Pending*>(done->tag) = {true, std::move(done->status)};
  }
}

ReadBatch::~ReadBatch() {
  Counters ignored;
  (void)wait_all(ignored);
}

uint64_t ReadBatch::worst_bytes(uint64_t length, uint32_t block_bytes) {
  return round_up(length, block_bytes) + block_bytes;
}

ReadPlanRules ReadBatch::rules(const ReadTuning& tuning, uint32_t block_bytes, uint64_t staging_bytes) {
  // A quarter of the staging at most, so that several reads are in flight and a read that does not fit wastes little.
  const uint64_t most = round_down(std::min<uint64_t>(tuning.max_read_bytes, staging_bytes / 4), block_bytes);
  return {.block_bytes = block_bytes,
          .max_gap_bytes = tuning.max_gap_bytes,
          .max_read_bytes = static_cast<uint32_t>(std::max<uint64_t>(block_bytes, most))};
}

ReadPlanRules ReadBatch::rules() const {
  return rules(queue_->tuning(), queue_->reader().block_bytes(), staging_.size());
}

uint64_t ReadBatch::plan(std::span<const Extent> wanted, Counters& counters) {
  (void)wait_all(counters);  // its status was for the extents that are forgotten now
  wanted_.assign(wanted.begin(), wanted.end());
  plan_ = plan_reads(wanted_, rules());
  reads_.assign(plan_.size(), {});
  uint64_t bytes = 0;
  for (const PlannedRead& read : plan_) bytes += read.length;
  return bytes;
}

void ReadBatch::submit(Counters& counters) {
  read_of_.resize(wanted_.size());
  places_.resize(wanted_.size());
  requests_.clear();
  uint64_t used = 0;
  for (uint32_t number = 0; number < plan_.size(); ++number) {
    const PlannedRead& read = plan_[number];
    std::byte* destination = staging_.data() + used;
    for (uint32_t i = read.first_extent; i < read.first_extent + read.extent_count; ++i) {
      read_of_[i] = number;
      places_[i] = destination + (wanted_[i].offset - read.offset);
      counters.bytes_wanted += wanted_[i].length;
    }
    reads_[number].done = false;
    requests_.push_back(
        {read.file, read.offset, read.length, destination, reinterpret_cast<uint64_t>(&reads_[number])});
    used += read.length;
  }
  counters.bytes_read += static_cast<int64_t>(used);
  counters.requests += static_cast<int64_t>(requests_.size());
  queue_->reader().submit(requests_);
}

Status ReadBatch::wait(size_t extent, Counters& counters) {
  return wait_until(read_of_[extent], read_of_[extent] + 1, counters);
}

Status ReadBatch::wait_all(Counters& counters) { return wait_until(0, reads_.size(), counters); }

Status ReadBatch::wait_until(size_t first, size_t last, Counters& counters) {
  const std::span<ReadQueue::Pending> reads = std::span(reads_).subspan(first, last - first);
  const auto over = [](const ReadQueue::Pending& read) { return read.done; };
  if (!std::all_of(reads.begin(), reads.end(), over)) {
    const TimedSpan stall(queue_->spans(), SpanKind::kStall, counters.stall_us);
    for (ReadQueue::Pending& read : reads) {
      while (!read.done) queue_->wait();
    }
  }
  for (const ReadQueue::Pending& read : reads) FN_RETURN_IF_ERROR(Status(read.status));
  return {};
}

size_t ReadBatch::fitting(std::span<const Extent> wanted) const {
  size_t count = 0;
  uint64_t used = 0;
  for (const PlannedRead& read : plan_reads(wanted, rules())) {
    used += read.length;
    if (used > staging_.size()) break;
    count += read.extent_count;
  }
  return count;
}

Result<Staging> Staging::create(ReadQueue& queue, uint64_t bytes) {
  FN_ASSIGN_OR_RETURN(AlignedBuffer memory, AlignedBuffer::create(bytes, AlignedBuffer::Pages::kLarge));
  const auto owner = std::make_shared<AlignedBuffer>(std::move(memory));
  const uint64_t each = share(bytes);
  const auto area = [&](uint64_t number) {
    return ReadBatch(queue, AlignedBuffer::adopt(owner->data() + number * each, each, [owner](std::byte*) {}));
  };
  return Staging{{area(0), area(1)}, {area(2), area(3)}};
}

}  // namespace flashneuron
