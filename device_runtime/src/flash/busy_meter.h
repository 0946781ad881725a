// Wall time during which at least one of several overlapping reads is outstanding.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace flashneuron {

// The caller gives the time (any steady clock, never going back between calls), so a test needs none. Not thread safe.
class BusyMeter {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;

  void start(size_t reads, Time now);
  // One read ended. Precondition: one is outstanding.
  void finish(Time now);
  // Whole microseconds up to `now`, the running stretch included.
  int64_t busy_us(Time now) const;

 private:
  size_t outstanding_ = 0;
  Time since_;              // valid while outstanding_ > 0
  Clock::duration past_{};  // ended stretches
};

}  // namespace flashneuron
