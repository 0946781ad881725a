// What the kernel says of this process's memory.
#pragma once

#include <cstdint>
#include <string_view>

namespace flashneuron {

struct ProcessMemory {
  int64_t rss_bytes = 0;
  int64_t peak_rss_bytes = 0;
  int64_t rss_anon_bytes = 0;
  int64_t vm_swap_bytes = 0;
  int64_t major_faults = 0;
};

// Fields that the text of /proc/self/status lacks stay 0. Pure.
ProcessMemory parse_proc_status(std::string_view text);
ProcessMemory read_process_memory();
// rss_bytes alone, in microseconds; 0 where the kernel does not say.
int64_t read_rss_bytes();

}  // namespace flashneuron
