#include "runner/probe.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/core_kinds.h"
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
constexpr uint64_t kHotBytes = uint64_t{64} << 20;     // of the file, brought into the page cache
// Bursts: of sizes around a bundle's.
constexpr std::array<uint32_t, 3> kBurstBytes = {4096, 16384, 65536};
constexpr std::array<uint32_t, 5> kBurstReads = {1, 4, 16, 64, 256};
constexpr uint64_t kStagingBytes = uint64_t{kBurstBytes.back()} * kBurstReads.back();

using Emit = std::function<void(const Json&)>;

struct Probe {
  const ProbeOptions& options;
  const ScratchFile& file;
  AlignedBuffer memory;
  const Emit& emit;
  uint64_t bytes_read = 0;

  // Steady reads of every size by the reader's `threads`, from the first `file_bytes` of the file.
  Status points(FlashReader& reader, int threads, uint64_t file_bytes, int64_t duration_us, const Json& event) {
    FN_ASSIGN_OR_RETURN(const uint32_t number, reader.open(file.path()));
    for (uint32_t bytes = std::max(kSmallestRead, reader.block_bytes()); bytes <= kLargestRead; bytes *= 2) {
      const uint64_t slots = std::min(kMostReads, kMemoryBytes / bytes);
      if (slots < static_cast<uint64_t>(threads)) continue;
      const ReadLoad load{.file = number,
                          .file_bytes = file_bytes,
                          .read_bytes = bytes,
                          .batch = static_cast<uint32_t>(slots / 2),
                          .duration_us = duration_us,
                          .seed = bytes + static_cast<uint64_t>(threads)};
      FN_ASSIGN_OR_RETURN(const ReadRate rate, measure_reads(reader, load, memory.span()));
      bytes_read += rate.reads * bytes;
      Json point = event;
      point.update({{"read_bytes", bytes},
                    {"threads", threads},
                    {"reads", rate.reads},
                    {"wall_us", rate.wall_us},
                    {"cpu_us", rate.cpu_us}});
      emit(point);
    }
    return {};
  }

  Status bursts(FlashReader& reader, int threads, ThreadPool& pool) {
    FN_ASSIGN_OR_RETURN(const uint32_t number, reader.open(file.path()));
    const std::span<std::byte> weights = memory.span().subspan(kStagingBytes);
    std::memset(weights.data(), 1, weights.size());
    for (const uint32_t bytes : kBurstBytes) {
      for (const uint32_t reads : kBurstReads) {
        const BurstLoad load{.file = number,
                             .file_bytes = options.size_bytes,
                             .read_bytes = std::max(bytes, reader.block_bytes()),
                             .reads = reads,
                             .duration_us = 1000 * options.point_ms,
                             .seed = bytes + reads};
        FN_ASSIGN_OR_RETURN(const BurstCost cost,
                            measure_bursts(reader, load, memory.span().first(kStagingBytes), weights, pool));
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
    return {};
  }

  // Cold reads by workers on each kind of core, where there are several and the system lets us choose.
  Status by_core_kind(Json& kinds) {
    const std::vector<CoreKind> found = core_kinds(options.cpu_folder);
    for (size_t kind = 0; kind < found.size(); ++kind) {
      Json told = {{"cpus", found[kind].cpus}, {"speed", found[kind].speed}};
      Status status;
      if (found.size() > 1) {
        // A thread of its own, whose readers' workers inherit its CPUs.
        std::thread pinned([&] {
          told["measured"] = run_on_cpus(found[kind].cpus);
          for (size_t i = 0; told["measured"] && status.ok() && i < kThreads.size(); ++i) {
            const std::unique_ptr<FlashReader> reader = make_pread_reader({.workers = kThreads[i]});
            status = points(*reader, kThreads[i], options.size_bytes, 1000 * options.point_ms / 4,
                            {{"event", "kind_point"}, {"core_kind", kind}});
          }
        });
        pinned.join();
      }
      FN_RETURN_IF_ERROR(status);
      kinds.push_back(told);
    }
    return {};
  }

  // Reads of what lies in the page cache.
  Status hot() {
    const uint64_t bytes = std::min(kHotBytes, options.size_bytes);
    for (const int threads : kThreads) {
      const std::unique_ptr<FlashReader> reader = make_pread_reader({.workers = threads, .direct = false});
      FN_ASSIGN_OR_RETURN(const uint32_t number, reader->open(file.path()));
      std::vector<ReadRequest> all;
      for (uint64_t at = 0; at + kLargestRead <= bytes; at += kLargestRead) {
        all.push_back({number, at, kLargestRead, memory.data() + at % kMemoryBytes, at});
      }
      reader->submit(all);
      reader->await(all.size());
      while (std::optional<ReadCompletion> done = reader->poll()) FN_RETURN_IF_ERROR(Status(done->status));
      FN_RETURN_IF_ERROR(points(*reader, threads, bytes, 1000 * options.point_ms / 4, {{"event", "hot_point"}}));
    }
    return {};
  }
};

}  // namespace

Status probe(const Keys& keys, const Emit& emit) {
  FN_ASSIGN_OR_RETURN(const ProbeOptions options, parse_probe(keys));
  FN_ASSIGN_OR_RETURN(const ScratchFile file, ScratchFile::create(options.folder, options.size_bytes));
  FN_ASSIGN_OR_RETURN(AlignedBuffer memory, AlignedBuffer::create(kMemoryBytes));
  Probe probe{.options = options, .file = file, .memory = std::move(memory), .emit = emit};
  const std::optional<uint64_t> storage_before = process_storage_bytes();
  ThreadPool pool(static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 4u)));
  double best_dram = 0;
  Json result = {{"event", "result"}, {"file_bytes", options.size_bytes}};
  for (const int threads : kThreads) {
    // DRAM over the whole probe: neighbours on the machine come and go.
    FN_ASSIGN_OR_RETURN(const double dram, measure_read_bandwidth(pool, kMemoryBytes));
    best_dram = std::max(best_dram, dram);
    const std::unique_ptr<FlashReader> reader = make_pread_reader({.workers = threads});
    FN_RETURN_IF_ERROR(
        probe.points(*reader, threads, options.size_bytes, 1000 * options.point_ms, {{"event", "point"}}));
    FN_RETURN_IF_ERROR(probe.bursts(*reader, threads, pool));
    result["block_bytes"] = reader->block_bytes();
    result["direct_io"] = !reader->buffered_reason().has_value();
    if (reader->buffered_reason()) result["direct_io_why"] = *reader->buffered_reason();
  }
  result["core_kinds"] = Json::array();
  FN_RETURN_IF_ERROR(probe.by_core_kind(result["core_kinds"]));
  result["bytes_read"] = probe.bytes_read;
  if (const std::optional<uint64_t> storage = process_storage_bytes(); storage && storage_before) {
    result["storage_bytes_read"] = *storage - *storage_before;
  }
  FN_RETURN_IF_ERROR(probe.hot());
  result["dram_bytes_per_s"] = static_cast<int64_t>(best_dram);
  result["dram_threads"] = pool.threads();
  emit(result);
  return {};
}

}  // namespace flashneuron
