#include "telemetry/system_memory.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace flashneuron {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The whole number after `name` at the start of a line.
std::optional<int64_t> number_of(std::string_view text, std::string_view name) {
  for (size_t line = 0; line < text.size();) {
    const size_t end = std::min(text.find('\n', line), text.size());
    const std::string_view rest = text.substr(line, end - line);
    line = end + 1;
    if (!rest.starts_with(name)) continue;
    const size_t digits = rest.find_first_not_of(" \t", name.size());
    int64_t value = 0;
    if (digits == std::string_view::npos) return std::nullopt;
    if (std::from_chars(rest.data() + digits, rest.data() + rest.size(), value).ec != std::errc{}) return std::nullopt;
    return value;
  }
  return std::nullopt;
}

struct GroupFiles {
  const char* limit;
  const char* usage;
  const char* inactive;  // in memory.stat
};
constexpr GroupFiles kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "};
constexpr GroupFiles kVersion2{"memory.max", "memory.current", "inactive_file "};

// What one group leaves; absent where it has no limit ("max" is no number) or cannot be seen.
std::optional<int64_t> left_in(const std::filesystem::path& group, const GroupFiles& files) {
  const std::optional<int64_t> limit = number_of(text_of(group / files.limit), "");
  const std::optional<int64_t> usage = number_of(text_of(group / files.usage), "");
  if (!limit || !usage) return std::nullopt;
  const int64_t unused = number_of(text_of(group / "memory.stat"), files.inactive).value_or(0);
  return std::max<int64_t>(0, *limit - *usage + std::min(unused, *usage));
}

}  // namespace

std::optional<int64_t> parse_mem_available(std::string_view meminfo) {
  const std::optional<int64_t> kib = number_of(meminfo, "MemAvailable:");
  if (!kib) return std::nullopt;
  return *kib * 1024;
}

std::optional<int64_t> read_available_bytes(const std::string& proc_folder, const std::string& cgroup_folder) {
  std::optional<int64_t> available = parse_mem_available(text_of(proc_folder + "/meminfo"));
  std::istringstream groups(text_of(proc_folder + "/self/cgroup"));
  for (std::string line; std::getline(groups, line);) {
    // NUMBER:CONTROLLERS:PATH, version 2 without controllers.
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool version2 = controllers == ",,";
    if (!version2 && controllers.find(",memory,") == std::string::npos) continue;
    const std::filesystem::path top(version2 ? cgroup_folder : cgroup_folder + "/memory");
    // The limits of all groups around this one hold too.
    for (std::filesystem::path inside = std::filesystem::path(line.substr(second + 1)).relative_path();;
         inside = inside.parent_path()) {
      const std::optional<int64_t> left = left_in(top / inside, version2 ? kVersion2 : kVersion1);
      if (left) available = std::min(available.value_or(*left), *left);
      if (inside.empty()) break;
    }
  }
  return available;
}

}  // namespace flashneuron
