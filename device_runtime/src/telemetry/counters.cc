#include "flashneuron/stats.h"

namespace flashneuron {

Counters& Counters::operator+=(const Counters& other) {
  wall_us += other.wall_us;
  io_us += other.io_us;
  stall_us += other.stall_us;
  memory_us += other.memory_us;
  predictor_us += other.predictor_us;
  attention_us += other.attention_us;
  ffn_us += other.ffn_us;
  head_us += other.head_us;
  bytes_wanted += other.bytes_wanted;
  bytes_read += other.bytes_read;
  requests += other.requests;
  selected += other.selected;
  fired += other.fired;
  hits += other.hits;
  misses += other.misses;
  early += other.early;
  early_used += other.early_used;
  return *this;
}

}  // namespace flashneuron
