#include "core/core_kinds.h"

#include <sched.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

namespace flashneuron {
namespace {

std::optional<int64_t> number_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

}  // namespace

std::vector<CoreKind> core_kinds(const std::string& folder) {
  std::map<int64_t, std::vector<int>> by_speed;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    const std::filesystem::path core = std::filesystem::path(folder) / ("cpu" + std::to_string(cpu));
    std::error_code ignored;
    if (!std::filesystem::exists(core, ignored)) break;
    std::optional<int64_t> speed = number_in(core / "cpu_capacity");
    if (!speed) speed = number_in(core / "cpufreq" / "cpuinfo_max_freq");
    if (speed) by_speed[*speed].push_back(cpu);
  }
  std::vector<CoreKind> kinds;
  for (auto& [speed, cpus] : by_speed) kinds.push_back({speed, std::move(cpus)});
  return kinds;
}

bool run_on_cpus(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(static_cast<size_t>(cpu), &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

}  // namespace flashneuron
