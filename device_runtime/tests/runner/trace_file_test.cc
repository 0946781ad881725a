#include "runner/trace_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "support/temp_folder.h"

namespace flashneuron {
namespace {

using Events = std::vector<nlohmann::json>;

nlohmann::json printed(const Trace& trace, const Json& other = Json::object()) {
  std::ostringstream out;
  print_trace(trace, other, out);
  return nlohmann::json::parse(out.str());
}

Events of_phase(const nlohmann::json& file, const std::string& phase) {
  Events found;
  for (const nlohmann::json& event : file["traceEvents"]) {
    if (event["ph"] == phase) found.push_back(event);
  }
  return found;
}

TEST(TraceFile, SlicesHaveTheirLayerAndStartAtTheRunsStart) {
  Trace trace(1000);
  SpanTrack& track = trace.compute();
  TraceSpan* const token = track.open(SpanKind::kToken, 3, 1010);
  TraceSpan* const layer = track.open(SpanKind::kLayer, 5, 1011);
  track.close(track.open(SpanKind::kStall, 0, 1012), 1020);
  track.close(layer, 1020);
  track.close(track.open(SpanKind::kHead, 0, 1020), 1030);  // in the microsecond in which the layer ended
  track.close(token, 1031);

  const Events slices = of_phase(printed(trace), "X");
  ASSERT_EQ(slices.size(), 4u);
  EXPECT_EQ(slices[0]["name"], "token");
  EXPECT_EQ(slices[0]["ts"], 10);
  EXPECT_EQ(slices[0]["dur"], 21);
  EXPECT_EQ(slices[0]["args"], nlohmann::json({{"index", 3}}));
  EXPECT_EQ(slices[1]["name"], "layer 5");
  EXPECT_EQ(slices[2]["name"], "stall");
  EXPECT_EQ(slices[2]["args"], nlohmann::json({{"layer", 5}}));
  EXPECT_EQ(slices[3]["name"], "head");
  EXPECT_EQ(slices[3]["args"], nlohmann::json::object());
}

TEST(TraceFile, ReadsHaveTracksOfTheirOwnAndACounter) {
  Trace trace(0);
  trace.start_workers(2);
  trace.name_file(4, "ffn/4", 9u);
  trace.reads(0).add({.file = 4, .bytes = 8192, .offset = 1 << 20, .submitted_us = 5, .start_us = 6, .end_us = 20});
  trace.reads(1).add({.file = 0, .bytes = 4096, .offset = 0, .submitted_us = 5, .start_us = 7, .end_us = 9});

  const nlohmann::json file = printed(trace);
  std::map<int, std::string> threads;
  for (const nlohmann::json& event : of_phase(file, "M")) {
    if (event["name"] == "thread_name") threads[event["tid"]] = event["args"]["name"];
  }
  EXPECT_EQ(threads, (std::map<int, std::string>{{1, "compute"}, {2, "I/O worker 1"}, {3, "I/O worker 2"}}));
  const Events slices = of_phase(file, "X");
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[0]["tid"], 2);
  const nlohmann::json known = {
      {"bytes", 8192}, {"offset", 1 << 20}, {"queued_us", 1}, {"file", "ffn/4"}, {"layer", 9}};
  EXPECT_EQ(slices[0]["args"], known);
  EXPECT_FALSE(slices[1]["args"].contains("layer"));
  std::map<int, int> in_flight;
  for (const nlohmann::json& event : of_phase(file, "C")) in_flight[event["ts"]] = event["args"]["reads"];
  EXPECT_EQ(in_flight, (std::map<int, int>{{5, 2}, {9, 1}, {20, 0}}));
}

TEST(TraceFile, SaysWhatItLacks) {
  Trace trace(0, {.spans = 1, .reads = 0});
  for (int span = 0; span < 3; ++span) trace.compute().close(trace.compute().open(SpanKind::kHead, 0, 0), 0);
  const nlohmann::json file = printed(trace, {{"package", "a \"name\""}});
  EXPECT_EQ(file["otherData"]["dropped_spans"], 2);
  EXPECT_EQ(file["otherData"]["package"], "a \"name\"");
}

TEST(TraceFile, TheFirstLineHoldsTheOtherData) {
  std::ostringstream out;
  print_trace(Trace(0), {{"package", "p"}}, out);
  std::string line = out.str().substr(0, out.str().find('\n'));
  ASSERT_EQ(line.back(), ',');
  line.back() = '}';
  EXPECT_EQ(nlohmann::json::parse(line)["otherData"]["package"], "p");
}

TEST(TraceFile, AppearsWhole) {
  const testing::TempFolder folder;
  const std::string path = folder.path() / "trace.json";
  {
    const auto file = TraceFile::create(path).value();
    EXPECT_FALSE(std::filesystem::exists(path));
    ASSERT_TRUE(file->write({{"package", "p"}}).ok());
  }
  std::ifstream in(path);
  EXPECT_EQ(nlohmann::json::parse(in)["otherData"]["package"], "p");
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
}

TEST(TraceFile, LeavesNothingWhereItWasNotWritten) {
  const testing::TempFolder folder;
  TraceFile::create(folder.path() / "trace.json").value().reset();
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(TraceFile, RefusesAPathThatCannotBeWritten) {
  const testing::TempFolder folder;
  for (const std::filesystem::path& path : {folder.path() / "missing" / "trace.json", folder.path()}) {
    const Status status = TraceFile::create(path).status();
    EXPECT_EQ(status.code(), StatusCode::kIo);
    EXPECT_NE(status.message().find(path.string()), std::string::npos) << status.message();
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace flashneuron
