#include "flash/busy_meter.h"

namespace flashneuron {

void BusyMeter::start(size_t reads, Time now) {
  if (outstanding_ == 0) since_ = now;
  outstanding_ += reads;
}

void BusyMeter::finish(Time now) {
  if (--outstanding_ == 0) past_ += now - since_;
}

int64_t BusyMeter::busy_us(Time now) const {
  const auto busy = outstanding_ > 0 ? past_ + (now - since_) : past_;
  return std::chrono::duration_cast<std::chrono::microseconds>(busy).count();
}

}  // namespace flashneuron
