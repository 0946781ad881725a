// One measurement of the flash reader: scattered O_DIRECT reads of an existing file, as one JSON object.
//   flash_bench FILE READ_BYTES WORKERS BATCH fed|drained MILLISECONDS SEED [large]
// fed: a batch is queued while the one before is read, as fio keeps its threads busy; drained: each batch ends before
// the next one, as one layer's reads do when nothing overlaps them. large: into large pages, as a runtime's staging has
// them. tools/bench-flash runs it beside fio.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/aligned_buffer.h"
#include "flash/read_rate.h"

namespace flashneuron {
namespace {

Status run(int count, char** words) {
  const std::string path = words[1];
  const auto reader = make_pread_reader({.workers = std::atoi(words[3])});
  ReadLoad load{.file = 0,
                .file_bytes = 0,
                .read_bytes = static_cast<uint32_t>(std::strtoul(words[2], nullptr, 10)),
                .batch = static_cast<uint32_t>(std::strtoul(words[4], nullptr, 10)),
                .feed = std::string(words[5]) == "fed",
                .duration_us = 1000 * std::strtoll(words[6], nullptr, 10),
                .seed = std::strtoull(words[7], nullptr, 10)};
  FN_ASSIGN_OR_RETURN(load.file, reader->open(path));
  std::error_code error;
  load.file_bytes = std::filesystem::file_size(path, error);
  if (load.read_bytes == 0 || load.read_bytes % reader->block_bytes() != 0 || load.file_bytes < load.read_bytes ||
      load.batch == 0) {
    return {StatusCode::kUsage, "READ_BYTES must be a multiple of the block and no more than the file; BATCH from 1"};
  }
  const bool large = count == 9 && std::string(words[8]) == "large";
  const auto pages = large ? AlignedBuffer::Pages::kLarge : AlignedBuffer::Pages::kAny;
  FN_ASSIGN_OR_RETURN(AlignedBuffer memory, AlignedBuffer::create(load_memory_bytes(load), pages));
  FN_ASSIGN_OR_RETURN(const ReadRate rate, measure_reads(*reader, load, memory.span()));
  std::printf("{\"reads\": %" PRIu64 ", \"wall_us\": %" PRId64
              ", \"bytes_per_s\": %.0f, \"cpu_us_per_read\": %.3f, \"direct\": %s}\n",
              rate.reads, rate.wall_us, rate.bytes_per_s(load.read_bytes),
              static_cast<double>(rate.cpu_us) / static_cast<double>(rate.reads),
              reader->buffered_reason() ? "false" : "true");
  return {};
}

}  // namespace
}  // namespace flashneuron

int main(int count, char** words) {
  if (count != 8 && count != 9) {
    std::fprintf(stderr, "usage: flash_bench FILE READ_BYTES WORKERS BATCH fed|drained MILLISECONDS SEED [large]\n");
    return 2;
  }
  const flashneuron::Status status = flashneuron::run(count, words);
  if (!status.ok()) std::fprintf(stderr, "flash_bench: %s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
