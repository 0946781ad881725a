#include "telemetry/storage_reads.h"

#include <fstream>
#include <string>

namespace flashneuron {
namespace {

std::optional<uint64_t> read_bytes(const char* path) {
  std::ifstream counters(path);
  std::string name;
  for (uint64_t value = 0; counters >> name >> value;) {
    if (name == "read_bytes:") return value;
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> thread_storage_bytes() { return read_bytes("/proc/thread-self/io"); }
std::optional<uint64_t> process_storage_bytes() { return read_bytes("/proc/self/io"); }

}  // namespace flashneuron
