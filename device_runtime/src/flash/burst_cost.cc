#include "flash/burst_cost.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <vector>

#include "core/align.h"
#include "telemetry/timer.h"

namespace flashneuron {
namespace {

// What a phase of computing reads. Each thread has one part of it, so that the phase is over when the most disturbed
// thread is.
constexpr size_t kPhaseBytes = size_t{512} << 10;

class Computing {
 public:
  Computing(std::span<const std::byte> weights, ThreadPool& pool) : weights_(weights), pool_(pool) {}

  // How long one phase takes, in microseconds.
  int64_t run() {
    const int64_t start_us = now_us();
    if (at_ + kPhaseBytes > weights_.size()) at_ = 0;
    const std::byte* const first = weights_.data() + at_;
    const auto parts = static_cast<size_t>(pool_.threads());
    const size_t part_bytes = round_down(kPhaseBytes / parts, sizeof(uint64_t));
    pool_.parallel_for(parts, 1, [&](size_t begin, size_t end) {
      uint64_t sum = 0;
      for (size_t word = begin * part_bytes; word < end * part_bytes; word += sizeof(uint64_t)) {
        uint64_t value = 0;
        std::memcpy(&value, first + word, sizeof value);
        sum += value;
      }
      total_ += sum;
    });
    at_ += kPhaseBytes;
    return now_us() - start_us;
  }

 private:
  std::span<const std::byte> weights_;
  ThreadPool& pool_;
  size_t at_ = 0;
  std::atomic<uint64_t> total_ = 0;  // so that no pass can be optimised away
};

int64_t median(std::vector<int64_t>& times) {
  const auto middle = times.begin() + static_cast<ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace

Result<BurstCost> measure_bursts(FlashReader& reader, const BurstLoad& load, std::span<std::byte> memory,
                                 std::span<const std::byte> weights, ThreadPool& pool) {
  std::mt19937_64 random(load.seed);
  std::uniform_int_distribution<uint64_t> place(0, load.file_bytes / load.read_bytes - 1);
  std::vector<ReadRequest> requests(load.reads);
  std::vector<int64_t> walls;
  std::vector<int64_t> alone;      // of a phase of computing without reads
  std::vector<int64_t> meanwhile;  // of a burst with computing beside it
  std::vector<int64_t> phases;     // that this got done
  Computing computing(weights, pool);
  std::memset(memory.data(), 0, std::min<uint64_t>(memory.size(), uint64_t{load.reads} * load.read_bytes));
  const int64_t end_us = now_us() + load.duration_us;
  do {
    for (const bool wait : {true, false}) {
      for (uint32_t i = 0; i < load.reads; ++i) {
        std::byte* destination = memory.data() + uint64_t{i} * load.read_bytes;
        requests[i] = {load.file, place(random) * load.read_bytes, load.read_bytes, destination, i};
      }
      Status error;
      size_t completed = 0;
      const auto poll = [&] {
        for (; std::optional<ReadCompletion> done = reader.poll(); ++completed) {
          if (!done->status.ok()) error = done->status;
        }
      };
      const ThreadPool::Awake awake(pool);
      (void)computing.run();
      alone.push_back(computing.run());
      const int64_t start_us = now_us();
      reader.submit(requests);
      if (wait) {
        reader.await(load.reads);
        walls.push_back(now_us() - start_us);
        poll();
      } else {
        phases.push_back(0);
        for (poll(); completed < load.reads; ++phases.back(), poll()) (void)computing.run();
        meanwhile.push_back(now_us() - start_us);
      }
      FN_RETURN_IF_ERROR(error);
    }
  } while (now_us() < end_us);
  const int64_t phase_us = median(alone);
  for (size_t i = 0; i < meanwhile.size(); ++i) meanwhile[i] -= phases[i] * phase_us;
  return BurstCost{walls.size() + meanwhile.size(), median(walls), std::max<int64_t>(0, median(meanwhile))};
}

}  // namespace flashneuron
