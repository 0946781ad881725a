#include "decode/flash_fetcher.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/align.h"
#include "telemetry/timer.h"

namespace flashneuron {

ReadPlanRules FlashFetcher::rules() const {
  ReadPlanRules rules;
  rules.block_bytes = reader_->block_bytes();
  // A quarter of the staging at most, so that several reads are in flight and a read that does not fit wastes little.
  const uint64_t most = round_down(std::min<uint64_t>(tuning_.max_read_bytes, staging_.size() / 4), rules.block_bytes);
  rules.max_read_bytes = static_cast<uint32_t>(std::max<uint64_t>(rules.block_bytes, most));
  rules.max_gap_bytes = tuning_.max_gap_bytes;
  return rules;
}

Result<FlashFetcher> FlashFetcher::create(FlashReader& reader, uint64_t staging_bytes, ReadTuning tuning) {
  FN_ASSIGN_OR_RETURN(AlignedBuffer staging, AlignedBuffer::create(staging_bytes));
  return FlashFetcher(reader, std::move(staging), tuning);
}

uint64_t FlashFetcher::worst_bytes(uint64_t length, uint32_t block_bytes) {
  return round_up(length, block_bytes) + block_bytes;
}

size_t FlashFetcher::fitting(std::span<const Extent> wanted, uint64_t bytes) const {
  size_t count = 0;
  uint64_t used = 0;
  for (const PlannedRead& read : plan_reads(wanted, rules())) {
    used += read.length;
    if (used > bytes) break;
    count += read.extent_count;
  }
  return count;
}

Status FlashFetcher::fetch(std::span<const Extent> wanted, Counters& counters) {
  places_.resize(wanted.size());
  requests_.clear();
  uint64_t used = 0;
  for (const PlannedRead& read : plan_reads(wanted, rules())) {
    if (used + read.length > staging_.size()) {
      return Status(StatusCode::kInternal, "the reads of one round do not fit into the staging buffer");
    }
    std::byte* destination = staging_.data() + used;
    for (uint32_t i = read.first_extent; i < read.first_extent + read.extent_count; ++i) {
      places_[i] = destination + (wanted[i].offset - read.offset);
      counters.bytes_wanted += wanted[i].length;
    }
    requests_.push_back({read.file, read.offset, read.length, destination, requests_.size()});
    used += read.length;
  }
  counters.bytes_read += static_cast<int64_t>(used);
  counters.requests += static_cast<int64_t>(requests_.size());

  const int64_t busy_before_us = reader_->busy_us();
  Status first_error;
  {
    ScopedTimer stall(counters.stall_us);
    reader_->submit(requests_);
    while (std::optional<ReadCompletion> done = reader_->wait()) {
      if (!done->status.ok() && first_error.ok()) first_error = done->status;
    }
  }
  counters.io_us += reader_->busy_us() - busy_before_us;
  return first_error;
}

}  // namespace flashneuron
