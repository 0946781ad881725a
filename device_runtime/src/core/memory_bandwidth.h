// How fast this machine's cores read DRAM.
#pragma once

#include <cstdint>

#include "core/thread_pool.h"
#include "flashneuron/status.h"

namespace flashneuron {

// Bytes a second, the best of several passes in which the pool's threads read `bytes` of memory (more than the caches
// hold) once. Error: kOutOfMemory.
Result<double> measure_read_bandwidth(ThreadPool& pool, uint64_t bytes);

}  // namespace flashneuron
