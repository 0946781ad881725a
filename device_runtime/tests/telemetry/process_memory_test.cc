#include "telemetry/process_memory.h"

#include <gtest/gtest.h>

namespace flashneuron {
namespace {

TEST(ProcessMemory, ReadsTheFieldsOfProcStatus) {
  const ProcessMemory memory = parse_proc_status(
      "Name:\trunner\nVmPeak:\t  999 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nRssAnon:\t     512 kB\nVmSwap:\t       "
      "4 kB\n");
  EXPECT_EQ(memory.peak_rss_bytes, 2048 * 1024);
  EXPECT_EQ(memory.rss_bytes, 1024 * 1024);
  EXPECT_EQ(memory.rss_anon_bytes, 512 * 1024);
  EXPECT_EQ(memory.vm_swap_bytes, 4 * 1024);
}

TEST(ProcessMemory, LeavesOutWhatTheKernelDoesNotSay) {
  EXPECT_EQ(parse_proc_status("").rss_bytes, 0);
  EXPECT_EQ(parse_proc_status("VmRSS:\n").rss_bytes, 0);
  EXPECT_EQ(parse_proc_status("VmRSS:\nRssAnon:\t 8 kB").rss_bytes, 0);
  EXPECT_EQ(parse_proc_status("VmRSS").rss_bytes, 0);
}

TEST(ProcessMemory, TheShortWayToTheResidentSetTellsTheSame) {
  const int64_t long_way = read_process_memory().rss_bytes;
  EXPECT_NEAR(static_cast<double>(read_rss_bytes()), static_cast<double>(long_way), 4 << 20);
}

TEST(ProcessMemory, SeesThisProcessGrow) {
  const ProcessMemory before = read_process_memory();
  EXPECT_GT(before.rss_bytes, 0);
  std::string touched(64 << 20, 'x');
  const ProcessMemory after = read_process_memory();
  EXPECT_GE(after.peak_rss_bytes - before.rss_bytes, 60 << 20) << touched.size();
}

}  // namespace
}  // namespace flashneuron
