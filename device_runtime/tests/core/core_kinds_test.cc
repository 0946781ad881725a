#include "core/core_kinds.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "support/temp_folder.h"

namespace flashneuron {
namespace {

class CoreKinds : public ::testing::Test {
 protected:
  void tell(int cpu, const std::string& file, const std::string& value) {
    const std::filesystem::path path = folder_.path() / ("cpu" + std::to_string(cpu)) / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << value;
  }
  std::vector<CoreKind> found() { return core_kinds(folder_.path().string()); }

  testing::TempFolder folder_;
};

TEST_F(CoreKinds, AreCpusOfOneCapacityFromSlowToFast) {
  const char* capacities[] = {"325", "325", "870", "870", "870", "1024"};
  for (int cpu = 0; cpu < 6; ++cpu) tell(cpu, "cpu_capacity", capacities[cpu]);
  const std::vector<CoreKind> kinds = found();
  ASSERT_EQ(kinds.size(), 3u);
  EXPECT_EQ(kinds[0].cpus, (std::vector<int>{0, 1}));
  EXPECT_EQ(kinds[1].cpus, (std::vector<int>{2, 3, 4}));
  EXPECT_EQ(kinds[2].cpus, std::vector<int>{5});
  EXPECT_EQ(kinds[2].speed, 1024);
}

TEST_F(CoreKinds, GoByTheHighestFrequencyWhereNoCapacityIsTold) {
  tell(0, "cpufreq/cpuinfo_max_freq", "2016000");
  tell(1, "cpufreq/cpuinfo_max_freq", "3300000");
  EXPECT_EQ(found().size(), 2u);
}

TEST_F(CoreKinds, AreUnknownWhereTheKernelTellsNothing) {
  EXPECT_TRUE(found().empty());
  tell(0, "online", "1");
  tell(1, "cpu_capacity", "no number");
  EXPECT_TRUE(found().empty());
}

TEST(RunOnCpus, BindsAThreadAndWhatItStarts) {
  std::thread([] {
    ASSERT_TRUE(run_on_cpus({0}));
    std::thread([] { EXPECT_EQ(sched_getcpu(), 0); }).join();
    EXPECT_FALSE(run_on_cpus({1023})) << "a CPU that is not there";
  }).join();
}

}  // namespace
}  // namespace flashneuron
