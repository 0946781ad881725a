// Wall-clock timing into a counter.
#pragma once

#include <chrono>
#include <cstdint>

namespace flashneuron {

inline int64_t to_us(std::chrono::steady_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

inline int64_t now_us() { return to_us(std::chrono::steady_clock::now()); }

// Adds the time from construction to destruction to `sink_us`.
class ScopedTimer {
 public:
  explicit ScopedTimer(int64_t& sink_us) : sink_us_(sink_us), start_us_(now_us()) {}
  ~ScopedTimer() { sink_us_ += now_us() - start_us_; }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  int64_t& sink_us_;
  int64_t start_us_;
};

}  // namespace flashneuron
