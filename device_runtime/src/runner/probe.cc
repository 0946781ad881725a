#include "runner/probe.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <thread>

#include "core/aligned_buffer.h"
#include "core/memory_bandwidth.h"
#include "flash/burst_cost.h"
#include "flash/flash_reader.h"
#include "flash/read_rate.h"
#include "flash/scratch_file.h"
#include "telemetry/storage_reads.h"

namespace flashneuron {
namespace {

constexpr std::array<int, 6> kThreads = {1, 2, 4, 8, 16, 32};
constexpr uint32_t kSmallestRead = 4096;
constexpr uint32_t kLargestRead = 4 << 20;
constexpr uint64_t kMemoryBytes = uint64_t{64} << 20;  // of reads in flight, and of the DRAM measurement
constexpr uint64_t kMostReads = 256;                   // queued at once
// Bursts: of sizes around a bundle's.
constexpr std::array<uint32_t, 3> kBurstBytes = {4096, 16384, 65536};
constexpr std::array<uint32_t, 5> kBurstReads = {1, 4, 16, 64, 256};

}  // namespace

Status probe(const Keys& keys, const std::function<void(const Json&)>& emit) {
  FN_ASSIGN_OR_RETURN(const ProbeOptions options, parse_probe(keys));
  FN_ASSIGN_OR_RETURN(const ScratchFile file, ScratchFile::create(options.folder, options.size_bytes));
  FN_ASSIGN_OR_RETURN(AlignedBuffer memory, AlignedBuffer::create(kMemoryBytes));
  const std::optional<uint64_t> storage_before = process_storage_bytes();
  uint64_t bytes_read = 0;
  double best_dram = 0;
  ThreadPool pool(static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 4u)));
  const uint64_t most = uint64_t{kBurstBytes.back()} * kBurstReads.back();
  const auto staging = memory.span().first(most);
  const auto weights = memory.span().subspan(most);
  std::memset(weights.data(), 1, weights.size());
  Json result = {{"event", "result"}, {"file_bytes", options.size_bytes}};
  for (const int threads : kThreads) {
    const std::unique_ptr<FlashReader> reader = make_pread_reader({.workers = threads});
    FN_ASSIGN_OR_RETURN(const uint32_t number, reader->open(file.path()));
    result["block_bytes"] = reader->block_bytes();
    result["direct_io"] = !reader->buffered_reason().has_value();
    if (reader->buffered_reason()) result["direct_io_why"] = *reader->buffered_reason();
    // Over the whole probe: neighbours on the machine come and go.
    FN_ASSIGN_OR_RETURN(const double dram, measure_read_bandwidth(pool, kMemoryBytes));
    best_dram = std::max(best_dram, dram);
    for (uint32_t bytes = std::max(kSmallestRead, reader->block_bytes()); bytes <= kLargestRead; bytes *= 2) {
      const uint64_t slots = std::min(kMostReads, kMemoryBytes / bytes);
      if (slots < static_cast<uint64_t>(threads)) continue;
      const ReadLoad load{.file = number,
                          .file_bytes = options.size_bytes,
                          .read_bytes = bytes,
                          .batch = static_cast<uint32_t>(slots / 2),
                          .duration_us = 1000 * options.point_ms,
                          .seed = bytes + static_cast<uint64_t>(threads)};
      FN_ASSIGN_OR_RETURN(const ReadRate rate, measure_reads(*reader, load, memory.span()));
      bytes_read += rate.reads * bytes;
      emit({{"event", "point"},
            {"read_bytes", bytes},
            {"threads", threads},
            {"reads", rate.reads},
            {"wall_us", rate.wall_us},
            {"cpu_us", rate.cpu_us}});
    }
    for (const uint32_t bytes : kBurstBytes) {
      for (const uint32_t reads : kBurstReads) {
        const BurstLoad load{.file = number,
                             .file_bytes = options.size_bytes,
                             .read_bytes = std::max(bytes, reader->block_bytes()),
                             .reads = reads,
                             .duration_us = 1000 * options.point_ms,
                             .seed = bytes + reads};
        FN_ASSIGN_OR_RETURN(const BurstCost cost, measure_bursts(*reader, load, staging, weights, pool));
        bytes_read += cost.bursts * reads * load.read_bytes;
        emit({{"event", "burst"},
              {"read_bytes", load.read_bytes},
              {"threads", threads},
              {"reads", reads},
              {"bursts", cost.bursts},
              {"wall_us", cost.wall_us},
              {"lost_us", cost.lost_us}});
      }
    }
  }
  result["bytes_read"] = bytes_read;
  if (const std::optional<uint64_t> storage = process_storage_bytes(); storage && storage_before) {
    result["storage_bytes_read"] = *storage - *storage_before;
  }
  result["dram_bytes_per_s"] = static_cast<int64_t>(best_dram);
  result["dram_threads"] = pool.threads();
  emit(result);
  return {};
}

}  // namespace flashneuron
