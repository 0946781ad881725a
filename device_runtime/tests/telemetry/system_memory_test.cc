#include "telemetry/system_memory.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/temp_folder.h"

namespace flashneuron {
namespace {

constexpr int64_t kMiB = 1 << 20;

// A /proc and a /sys/fs/cgroup of a test's own.
class SystemMemory : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::optional<int64_t> read_mib() const {
    const std::optional<int64_t> found =
        read_available_bytes((folder_.path() / "proc").string(), (folder_.path() / "cgroup").string());
    if (!found) return found;
    return *found / kMiB;
  }
  static std::string mib(int64_t number) { return std::to_string(number * kMiB) + "\n"; }

  const testing::TempFolder folder_;
};

TEST_F(SystemMemory, IsMemAvailableWithoutGroups) {
  write("proc/meminfo", "MemTotal:  9999 kB\nMemAvailable:     2048 kB\nSwapFree: 0 kB\n");
  EXPECT_EQ(read_mib(), 2);
}

TEST_F(SystemMemory, IsUnknownWhereNothingSaysIt) {
  EXPECT_EQ(read_mib(), std::nullopt);
  write("proc/meminfo", "MemAvailable: many kB\n");
  EXPECT_EQ(read_mib(), std::nullopt);
  EXPECT_EQ(parse_mem_available("MemAvailable"), std::nullopt);
}

TEST_F(SystemMemory, IsTheTightestGroupsWhereThatIsLess) {
  write("proc/meminfo", "MemAvailable: 1048576 kB\n");
  write("proc/self/cgroup", "0::/apps/mine\n");
  write("cgroup/apps/mine/memory.max", "max\n");
  write("cgroup/apps/mine/memory.current", mib(50));
  EXPECT_EQ(read_mib(), 1024);
  write("cgroup/apps/memory.max", mib(100));
  write("cgroup/apps/memory.current", mib(70));
  write("cgroup/apps/memory.stat", "anon 5\ninactive_file " + mib(20));
  EXPECT_EQ(read_mib(), 50) << "file pages can go";
  write("cgroup/apps/mine/memory.max", mib(52));
  EXPECT_EQ(read_mib(), 2);
}

TEST_F(SystemMemory, ReadsVersion1Too) {
  write("proc/meminfo", "MemAvailable: 1048576 kB\n");
  write("proc/self/cgroup", "4:cpu,cpuacct:/x\n3:memory:/phone\n");
  write("cgroup/memory/phone/memory.limit_in_bytes", mib(64));
  write("cgroup/memory/phone/memory.usage_in_bytes", mib(70));
  EXPECT_EQ(read_mib(), 0) << "never below nothing";
  write("cgroup/memory/phone/memory.usage_in_bytes", mib(40));
  write("cgroup/memory/phone/memory.stat", "total_inactive_file " + mib(1));
  EXPECT_EQ(read_mib(), 25);
}

TEST(SystemMemoryHere, IsTold) {
  const std::optional<int64_t> found = read_available_bytes();
  ASSERT_TRUE(found.has_value());
  EXPECT_GT(*found, 0);
}

}  // namespace
}  // namespace flashneuron
