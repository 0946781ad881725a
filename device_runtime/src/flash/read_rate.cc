#include "flash/read_rate.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "telemetry/timer.h"

namespace flashneuron {
namespace {

int64_t process_cpu_us() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& time) { return int64_t{time.tv_sec} * 1000000 + time.tv_usec; };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

}  // namespace

uint64_t load_memory_bytes(const ReadLoad& load) {
  return uint64_t{load.read_bytes} * load.batch * (load.feed ? 2 : 1);
}

Result<ReadRate> measure_reads(FlashReader& reader, const ReadLoad& load, std::span<std::byte> memory) {
  std::mt19937_64 random(load.seed);
  std::uniform_int_distribution<uint64_t> place(0, load.file_bytes / load.read_bytes - 1);
  std::vector<ReadRequest> requests;
  const auto submit = [&](uint64_t slot) {
    requests.push_back(
        {load.file, place(random) * load.read_bytes, load.read_bytes, memory.data() + slot * load.read_bytes, slot});
  };

  // The kernel's first look at each page costs more than a read of it; a runtime's staging is used again and again.
  std::memset(memory.data(), 0, std::min<uint64_t>(memory.size(), load_memory_bytes(load)));
  const int64_t cpu_before_us = process_cpu_us();
  const int64_t start_us = now_us();
  ReadRate rate;
  Status first_error;
  const uint64_t slots = uint64_t{load.batch} * (load.feed ? 2 : 1);
  for (uint64_t slot = 0; slot < slots; ++slot) submit(slot);
  while (!requests.empty()) {
    reader.submit(requests);
    requests.clear();
    reader.await(load.batch);
    const bool more = now_us() - start_us < load.duration_us;
    while (std::optional<ReadCompletion> done = reader.poll()) {
      ++rate.reads;
      if (!done->status.ok() && first_error.ok()) first_error = done->status;
      if (more && first_error.ok()) submit(done->tag);
    }
  }
  while (reader.wait()) ++rate.reads;
  rate.wall_us = now_us() - start_us;
  rate.cpu_us = process_cpu_us() - cpu_before_us;
  FN_RETURN_IF_ERROR(first_error);
  return rate;
}

}  // namespace flashneuron
