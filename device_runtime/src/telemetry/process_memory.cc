#include "telemetry/process_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <sstream>

namespace flashneuron {
namespace {

// The value of a line such as "VmRSS:	   12345 kB", in bytes; 0 if the line is not there.
int64_t field_bytes(std::string_view text, std::string_view name) {
  size_t line = 0;
  while (line < text.size() && text.substr(line, name.size()) != name) {
    const size_t end = text.find('\n', line);
    if (end == std::string_view::npos) return 0;
    line = end + 1;
  }
  const size_t digits = text.find_first_of("0123456789\n", line);
  if (digits == std::string_view::npos) return 0;
  int64_t kib = 0;
  std::from_chars(text.data() + digits, text.data() + text.size(), kib);
  return kib * 1024;
}

}  // namespace

ProcessMemory parse_proc_status(std::string_view text) {
  ProcessMemory memory;
  memory.rss_bytes = field_bytes(text, "VmRSS:");
  memory.peak_rss_bytes = field_bytes(text, "VmHWM:");
  memory.rss_anon_bytes = field_bytes(text, "RssAnon:");
  memory.vm_swap_bytes = field_bytes(text, "VmSwap:");
  return memory;
}

ProcessMemory read_process_memory() {
  std::ifstream file("/proc/self/status");
  std::stringstream text;
  text << file.rdbuf();
  ProcessMemory memory = parse_proc_status(text.str());
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) memory.major_faults = usage.ru_majflt;
  return memory;
}

int64_t read_rss_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t mapped_pages = 0;
  int64_t resident_pages = 0;
  file >> mapped_pages >> resident_pages;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

}  // namespace flashneuron
