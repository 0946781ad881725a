// The kinds of cores that a device has: little, big, prime.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flashneuron {

struct CoreKind {
  int64_t speed = 0;      // cpu_capacity where the kernel tells it, else the highest frequency in kHz
  std::vector<int> cpus;  // ascending
};

// From slow to fast, of the CPUs below `folder` (/sys/devices/system/cpu). Empty where the kernel does not tell.
std::vector<CoreKind> core_kinds(const std::string& folder);

// Makes the calling thread, and threads that it starts from then on, run on these CPUs alone. Whether the system allows
// it.
bool run_on_cpus(const std::vector<int>& cpus);

}  // namespace flashneuron
