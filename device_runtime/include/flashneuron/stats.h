// What a run measures. Identity: selected = hits + misses. stall_us may exceed io_us by the time it takes to hand reads
// over to the workers and to wake up after the last one.
#pragma once

#include <cstdint>

namespace flashneuron {

// Counters of one token, one layer, or a sum of either. Times are wall microseconds.
struct Counters {
  int64_t wall_us = 0;
  int64_t io_us = 0;      // any read outstanding, early ones too
  int64_t stall_us = 0;   // compute waits for reads
  int64_t memory_us = 0;  // cache and staging management: evictions, copies into rows
  int64_t predictor_us = 0;
  int64_t attention_us = 0;  // attention programs, with their norms and projections
  int64_t ffn_us = 0;
  int64_t head_us = 0;       // head program and sampling; 0 in a layer's counters
  int64_t draft_us = 0;      // the draft's work, all of it; 0 in a layer's counters
  int64_t bytes_wanted = 0;  // bytes of the records that were asked for
  int64_t bytes_read = 0;    // bytes that the reads covered, rounded out to blocks
  int64_t requests = 0;      // reads issued
  int64_t selected = 0;      // neurons computed, for each token that computes them
  int64_t fired = 0;         // of them, those whose activation is not zero
  int64_t hits = 0;          // of the selected, found in DRAM
  int64_t misses = 0;        // of the selected, read from flash
  int64_t early = 0;         // neurons whose reads were started before the layer's own prediction
  int64_t early_used = 0;    // of the misses, those that were read early

  Counters& operator+=(const Counters& other);
  // Part `number` of `parts` that are as equal as whole numbers allow and add up to this. selected = hits + misses in
  // each.
  Counters part(int64_t number, int64_t parts) const;
};

}  // namespace flashneuron
