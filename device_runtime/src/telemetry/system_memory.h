// How much memory the system has left for this process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flashneuron {

// MemAvailable of the text of /proc/meminfo, in bytes; absent where it does not say. Pure.
std::optional<int64_t> parse_mem_available(std::string_view meminfo);

// What can be had without swapping: MemAvailable, or what the limits of this process's control groups (version 1 or 2,
// where they can be seen) leave, if that is less; file pages that were not used lately count as free. Absent where the
// kernel does not say. Tens of microseconds.
std::optional<int64_t> read_available_bytes(const std::string& proc_folder = "/proc",
                                            const std::string& cgroup_folder = "/sys/fs/cgroup");

}  // namespace flashneuron
