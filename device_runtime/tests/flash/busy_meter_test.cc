#include "flash/busy_meter.h"

#include <gtest/gtest.h>

namespace flashneuron {
namespace {

BusyMeter::Time at(int microseconds) { return BusyMeter::Time(std::chrono::microseconds(microseconds)); }

TEST(BusyMeter, OverlappingReadsCountOnce) {
  BusyMeter meter;
  meter.start(2, at(100));
  meter.finish(at(150));
  meter.start(1, at(170));
  meter.finish(at(200));
  meter.finish(at(230));
  EXPECT_EQ(meter.busy_us(at(1000)), 130);
}

TEST(BusyMeter, IdleTimeDoesNotCount) {
  BusyMeter meter;
  EXPECT_EQ(meter.busy_us(at(50)), 0);
  meter.start(1, at(100));
  meter.finish(at(110));
  meter.start(1, at(500));
  meter.finish(at(505));
  EXPECT_EQ(meter.busy_us(at(1000)), 15);
}

TEST(BusyMeter, TheRunningStretchCounts) {
  BusyMeter meter;
  meter.start(3, at(100));
  EXPECT_EQ(meter.busy_us(at(140)), 40);
  meter.finish(at(150));
  EXPECT_EQ(meter.busy_us(at(160)), 60);
}

TEST(BusyMeter, FractionsAddUp) {
  BusyMeter meter;
  for (int read = 0; read < 10; ++read) {
    const BusyMeter::Time begin = at(read * 100);
    meter.start(1, begin);
    meter.finish(begin + std::chrono::nanoseconds(500));
  }
  EXPECT_EQ(meter.busy_us(at(5000)), 5);
}

}  // namespace
}  // namespace flashneuron
