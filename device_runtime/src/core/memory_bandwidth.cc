#include "core/memory_bandwidth.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>

#include "core/aligned_buffer.h"

namespace flashneuron {
namespace {

constexpr int kPasses = 8;
constexpr size_t kPieceBytes = size_t{1} << 20;  // what a thread reads at a time
constexpr size_t kLanes = 8;                     // independent sums, so that no addition waits for the one before

uint64_t sum(std::span<const std::byte> bytes) {
  std::array<uint64_t, kLanes> lanes{};
  std::array<uint64_t, kLanes> words;
  for (size_t at = 0; at + sizeof words <= bytes.size(); at += sizeof words) {
    std::memcpy(words.data(), bytes.data() + at, sizeof words);
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += words[lane];
  }
  uint64_t all = 0;
  for (const uint64_t lane : lanes) all += lane;
  return all;
}

}  // namespace

Result<double> measure_read_bandwidth(ThreadPool& pool, uint64_t bytes) {
  FN_ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::create(bytes));
  std::memset(buffer.data(), 1, buffer.size());  // pages exist before they are read
  const size_t pieces = (buffer.size() + kPieceBytes - 1) / kPieceBytes;
  std::atomic<uint64_t> total = 0;
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(pieces, 1, [&](size_t begin, size_t end) {
      const size_t first = begin * kPieceBytes;
      total += sum(buffer.span().subspan(first, std::min(end * kPieceBytes, buffer.size()) - first));
    });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(buffer.size()) / elapsed.count());
  }
  // Every byte is 1. The sums are used, so that no pass can be optimised away.
  if (total != static_cast<uint64_t>(kPasses) * (buffer.size() / 8) * 0x0101010101010101u) {
    return Status(StatusCode::kInternal, "memory does not hold what was written to it");
  }
  return best;
}

}  // namespace flashneuron
