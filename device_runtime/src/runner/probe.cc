#include "runner/probe.h"

#include <algorithm>
#include <array>
#include <memory>
#include <thread>

#include "core/aligned_buffer.h"
#include "core/memory_bandwidth.h"
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

}  // namespace

Status probe(const Keys& keys, const std::function<void(const Json&)>& emit) {
  FN_ASSIGN_OR_RETURN(const ProbeOptions options, parse_probe(keys));
  FN_ASSIGN_OR_RETURN(const ScratchFile file, ScratchFile::create(options.folder, options.size_bytes));
  FN_ASSIGN_OR_RETURN(AlignedBuffer memory, AlignedBuffer::create(kMemoryBytes));
  const std::optional<uint64_t> storage_before = process_storage_bytes();
  uint64_t bytes_read = 0;
  Json result = {{"event", "result"}, {"file_bytes", options.size_bytes}};
  for (const int threads : kThreads) {
    const std::unique_ptr<FlashReader> reader = make_pread_reader({.workers = threads});
    FN_ASSIGN_OR_RETURN(const uint32_t number, reader->open(file.path()));
    result["block_bytes"] = reader->block_bytes();
    result["direct_io"] = !reader->buffered_reason().has_value();
    if (reader->buffered_reason()) result["direct_io_why"] = *reader->buffered_reason();
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
  }
  result["bytes_read"] = bytes_read;
  if (const std::optional<uint64_t> storage = process_storage_bytes(); storage && storage_before) {
    result["storage_bytes_read"] = *storage - *storage_before;
  }
  memory = {};
  ThreadPool pool(static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 4u)));
  FN_ASSIGN_OR_RETURN(const double dram, measure_read_bandwidth(pool, kMemoryBytes));
  result["dram_bytes_per_s"] = static_cast<int64_t>(dram);
  result["dram_threads"] = pool.threads();
  emit(result);
  return {};
}

}  // namespace flashneuron
