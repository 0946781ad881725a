// The runner's protocol, through run_verb: what each verb refuses and prints. Runs on real packages are tested end to
// end from Python.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "runner/arguments.h"
#include "runner/run.h"
#include "support/temp_folder.h"

namespace flashneuron {
namespace {

struct Outcome {
  int exit_status = 0;
  std::vector<nlohmann::json> events;
};

Outcome run(const std::vector<const char*>& words, const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out;
  Outcome outcome;
  outcome.exit_status = run_verb(words, in, out);
  std::istringstream lines(out.str());
  for (std::string line; std::getline(lines, line);) outcome.events.push_back(nlohmann::json::parse(line));
  return outcome;
}

// Exactly one error event with this code, exit status 2, and all of `words` in its message.
void expect_refused(const std::vector<const char*>& words, const std::string& code,
                    const std::vector<std::string>& mentions, const std::string& input = "") {
  const Outcome outcome = run(words, input);
  EXPECT_EQ(outcome.exit_status, 2);
  ASSERT_EQ(outcome.events.size(), 1u);
  EXPECT_EQ(outcome.events[0]["event"], "error");
  EXPECT_EQ(outcome.events[0]["code"], code);
  const std::string message = outcome.events[0]["message"];
  EXPECT_EQ(message.find('\n'), std::string::npos);
  for (const std::string& mention : mentions) EXPECT_NE(message.find(mention), std::string::npos) << message;
}

std::string version() { return run({"version"}).events.at(0)["version"]; }

TEST(Runner, TellsItsVersion) {
  const Outcome outcome = run({"version"});
  EXPECT_EQ(outcome.exit_status, 0);
  ASSERT_EQ(outcome.events.size(), 1u);
  EXPECT_EQ(outcome.events[0]["event"], "version");
  EXPECT_GE(outcome.events[0]["page_bytes"], 4096);
}

TEST(Runner, RefusesMalformedCommandLines) {
  expect_refused({}, "usage", {"verb"});
  expect_refused({"dance"}, "usage", {"dance"});
  expect_refused({"version", "loose"}, "usage", {"loose", "key=value"});
  expect_refused({"version", "=x"}, "usage", {"=x"});
  expect_refused({"hash", "version=1", "path=a", "path=b"}, "usage", {"path", "twice"});
  expect_refused({"hash", "path=a"}, "usage", {"version"});
  expect_refused({"hash", "version=1", "path=a", "ram=5"}, "usage", {"ram"});
}

TEST(Runner, RefusesAnotherVersion) {
  expect_refused({"hash", "version=0.0.0", "path=a"}, "version_mismatch", {"0.0.0", version()});
  expect_refused({"version", "version=9.9.9"}, "version_mismatch", {"9.9.9"});
}

TEST(Runner, RefusesValuesByNameAndRange) {
  const std::string own = "version=" + version();
  const auto refused = [&](const char* setting, const std::vector<std::string>& mentions) {
    expect_refused({"generate", own.c_str(), "package=nowhere", setting}, "usage", mentions, "1 2");
  };
  refused("window=0", {"window=0", "1"});
  refused("ram=abc", {"ram=abc"});
  refused("ram=0", {"ram=0"});
  refused("ram=-5", {"ram=-5"});
  refused("threads=0", {"threads=0"});
  refused("threads=2x", {"threads=2x"});
  refused("read_gap=-1", {"read_gap=-1"});
  refused("max_read=0", {"max_read=0", "4096"});
  refused("hot=1.5", {"hot=1.5", "auto, off"});
  refused("hot=warm", {"hot=warm"});
  refused("residency=all", {"naive, hybrid, cached"});
  refused("predictor=best", {"none, lowrank, oracle"});
  refused("layout=flat", {"bundled, split"});
  refused("order=random", {"none, coactivation"});
  refused("kv=int4", {"fp32, fp16, int8"});
  refused("backend=gpu", {"auto, xnnpack, qnn, qnn-CHIP"});
  refused("temperature=nan", {"temperature"});
  refused("temperature=-1", {"temperature"});
  refused("top_p=0", {"top_p"});
  refused("top_p=1.5", {"top_p"});
  refused("top_k=-1", {"top_k"});
  refused("max_new_tokens=0", {"max_new_tokens"});
  refused("ignore_eos=yes", {"0 or 1"});
  refused("seed=-1", {"seed"});
  refused("follow_memory=-1", {"follow_memory"});
  for (const char* schedule :
       {"ram_at=", "ram_at=5", "ram_at=5:", "ram_at=0:99", "ram_at=5:0", "ram_at=5:9,", "ram_at=5:9,5:8",
        "ram_at=5:9;6:8", "ram_at=5:9x", "ram_at=-1:9", "ram_at=5:99999999999999999999"}) {
    refused(schedule, {"TOKEN:BYTES", schedule});
  }
}

TEST(Runner, RefusesBadInputBeforeItLooksForThePackage) {
  const std::string own = "version=" + version();
  expect_refused({"generate", own.c_str(), "package=nowhere"}, "bad_input", {"empty"}, "  \n");
  expect_refused({"generate", own.c_str(), "package=nowhere"}, "bad_input", {"12a"}, "1 12a");
  expect_refused({"generate", own.c_str(), "package=nowhere"}, "bad_input", {"-3"}, "-3");
  expect_refused({"generate", own.c_str(), "package=nowhere"}, "bad_input", {"99999999999"}, "99999999999");
  expect_refused({"score", own.c_str(), "package=nowhere"}, "bad_input", {"nothing to score"}, "\n\n");
  expect_refused({"score", own.c_str(), "package=nowhere"}, "bad_input", {"at least 2"}, "5\n");
  expect_refused({"generate", own.c_str(), "package=nowhere"}, "not_found", {"nowhere"}, "1 2");
}

TEST(Runner, HashesAFile) {
  const std::string own = "version=" + version();
  const std::string file = ::testing::TempDir() + "/abc";
  const std::string path = "path=" + file;
  std::ofstream(file) << "abc";
  const Outcome outcome = run({"hash", own.c_str(), path.c_str()});
  EXPECT_EQ(outcome.exit_status, 0);
  ASSERT_EQ(outcome.events.size(), 1u);
  EXPECT_EQ(outcome.events[0]["bytes"], 3);
  EXPECT_EQ(outcome.events[0]["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect_refused({"hash", own.c_str(), "path=nowhere"}, "not_found", {"nowhere"});
}

TEST(Runner, HashesTheFilesOfAList) {
  const std::string own = "version=" + version();
  const std::string file = ::testing::TempDir() + "/a b";
  std::ofstream(file) << "abc";
  const Outcome outcome = run({"hash", own.c_str()}, file + "\n" + file + "\n");
  EXPECT_EQ(outcome.exit_status, 0);
  ASSERT_EQ(outcome.events.size(), 2u);
  EXPECT_EQ(outcome.events[1]["path"], file);
  EXPECT_EQ(outcome.events[1]["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect_refused({"hash", own.c_str()}, "bad_input", {"nothing to hash"});
}

TEST(Runner, HashesWhatArrives) {
  const std::string own = "version=" + version();
  const std::string file = ::testing::TempDir() + "/a b";
  std::ofstream(file) << "abc";
  const Outcome outcome = run({"hash-arriving", own.c_str()}, "3 " + file + "\n");
  EXPECT_EQ(outcome.exit_status, 0);
  ASSERT_EQ(outcome.events.size(), 1u);
  EXPECT_EQ(outcome.events[0]["path"], file);
  EXPECT_EQ(outcome.events[0]["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect_refused({"hash-arriving", own.c_str()}, "bad_input", {"nothing to hash"});
  for (const char* line : {"x", "3", "3 ", "-1 a", "3a", "99999999999999999999 a"}) {
    expect_refused({"hash-arriving", own.c_str()}, "bad_input", {line, "bytes"}, line);
  }
}

TEST(Runner, ProbesAFolderAndLeavesNothingInIt) {
  const std::string own = "version=" + version();
  const testing::TempFolder scratch(std::filesystem::current_path());
  const std::string folder = "folder=" + scratch.path().string();
  const testing::TempFolder cpus;
  for (const auto& [cpu, capacity] : {std::pair{"cpu0", "1024"}, std::pair{"cpu1", "400"}}) {
    std::filesystem::create_directories(cpus.path() / cpu);
    std::ofstream(cpus.path() / cpu / "cpu_capacity") << capacity << "\n";
  }
  const std::string kinds = "cpu_folder=" + cpus.path().string();
  const Outcome outcome = run({"probe", own.c_str(), folder.c_str(), "size=16777216", "point_ms=1", kinds.c_str()});
  EXPECT_EQ(outcome.exit_status, 0);
  ASSERT_GT(outcome.events.size(), 50u);
  uint64_t bytes = 0;
  std::map<std::string, size_t> counts;
  for (size_t i = 0; i + 1 < outcome.events.size(); ++i) {
    const nlohmann::json& point = outcome.events[i];
    ++counts[point["event"]];
    const bool burst = point["event"] == "burst";
    if (burst) {
      EXPECT_GE(point["bursts"], 2) << "one that is waited for, one with computing beside it";
      EXPECT_GT(point["wall_us"], 0);
      EXPECT_GE(point["lost_us"], 0);
    } else {
      EXPECT_GE(point["reads"], point["threads"]);
      EXPECT_GT(point["wall_us"], 0);
    }
    if (point["event"] == "hot_point") continue;
    const uint64_t times = burst ? point["bursts"].get<uint64_t>() : 1;
    bytes += times * point["reads"].get<uint64_t>() * point["read_bytes"].get<uint64_t>();
  }
  const nlohmann::json& result = outcome.events.back();
  EXPECT_EQ(result["event"], "result");
  EXPECT_EQ(result["bytes_read"], bytes);
  EXPECT_GT(result["dram_bytes_per_s"], 0);
  EXPECT_GT(counts["point"], 50u);
  EXPECT_EQ(counts["hot_point"], counts["point"]);
  EXPECT_EQ(counts["burst"], 6u * 15u);
  ASSERT_EQ(result["core_kinds"].size(), 2u);
  EXPECT_EQ(result["core_kinds"][0]["cpus"], nlohmann::json({1})) << "slow ones first";
  size_t measured = 0;  // a machine of one core has no second one to choose
  for (const nlohmann::json& kind : result["core_kinds"]) measured += kind["measured"].get<bool>() ? 1 : 0;
  EXPECT_EQ(counts["kind_point"], measured * counts["point"]);
  // The kernel's count proves that reads are direct where the result says so.
  if (result["direct_io"] && result.contains("storage_bytes_read")) {
    EXPECT_GE(result["storage_bytes_read"], bytes);
  }
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

TEST(Runner, RefusesToProbeWhatCannotHoldTheFile) {
  const std::string own = "version=" + version();
  expect_refused({"probe", own.c_str()}, "usage", {"folder"});
  expect_refused({"probe", own.c_str(), "folder=nowhere"}, "not_found", {"nowhere"});
  expect_refused({"probe", own.c_str(), "folder=.", "size=1000"}, "usage", {"size=1000"});
  expect_refused({"probe", own.c_str(), "folder=/dev", "size=68719476736"}, "io", {"MiB free", "smaller size"});
}

TEST(Settings, ABudgetsScheduleIsRead) {
  const BudgetKeys read = parse_budget_keys({{"ram_at", "5:1048576,80:9"}}).value();
  ASSERT_EQ(read.ram_at.size(), 2u);
  EXPECT_EQ(read.ram_at[0].token, 5);
  EXPECT_EQ(read.ram_at[0].ram_bytes, 1048576);
  EXPECT_EQ(read.ram_at[1].token, 80);
  EXPECT_EQ(read.ram_at[1].ram_bytes, 9);
  EXPECT_EQ(parse_budget_keys({{"follow_memory", "300"}}).value().follow_memory, 300);
  EXPECT_EQ(parse_budget_keys({{"follow_memory", "300"}, {"ram_at", "5:9"}}).status().code(), StatusCode::kUsage);
}

TEST(Settings, SurviveARoundTrip) {
  const Keys keys{{"ram", "1048576"},  {"residency", "hybrid"}, {"predictor", "oracle"}, {"window", "4"},
                  {"layout", "split"}, {"order", "none"},       {"kv", "fp32"},          {"backend", "xnnpack"},
                  {"threads", "3"},    {"io_threads", "9"},     {"read_gap", "8192"},    {"max_read", "4096"},
                  {"overlap", "off"},  {"gate_first", "on"},    {"context", "77"},       {"hot", "0.25"}};
  const Result<Options> options = parse_options(keys);
  ASSERT_TRUE(options.ok()) << options.status().message();
  EXPECT_EQ(settings_of(options.value()), keys);
  Keys automatic = keys;
  automatic["window"] = "auto";
  automatic["hot"] = "auto";
  EXPECT_EQ(settings_of(parse_options(automatic).value()), automatic);
  automatic["hot"] = "off";
  automatic["order"] = "coactivation";
  EXPECT_EQ(settings_of(parse_options(automatic).value()), automatic);
}

}  // namespace
}  // namespace flashneuron
