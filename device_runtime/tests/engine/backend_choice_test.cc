#include "engine/backend_choice.h"

#include <gtest/gtest.h>

namespace flashneuron {
namespace {

AttentionFacts cpu() {
  AttentionFacts facts;
  facts.backend = "xnnpack";
  return facts;
}

AttentionFacts npu(const std::string& backend = "qnn-sm8650") {
  AttentionFacts facts;
  facts.backend = backend;
  facts.contexts = {256, 1024};
  return facts;
}

Manifest with(std::vector<AttentionFacts> attention) {
  Manifest manifest;
  manifest.attention = std::move(attention);
  return manifest;
}

Options asking(const std::string& backend, std::optional<std::string> soc = "SM8650") {
  Options options;
  options.backend = backend;
  options.soc = std::move(soc);
  return options;
}

const NpuObstacle kNone = [](const AttentionFacts&) { return std::nullopt; };
const NpuObstacle kNoLibraries = [](const AttentionFacts&) { return "no libraries"; };

// What auto falls back for, and qnn refuses for.
void expect_reason(const Manifest& manifest, const Options& options, int64_t context, const NpuObstacle& obstacle,
                   const std::string& reason) {
  Options asked = options;
  asked.backend = "auto";
  const auto chosen = choose_backend(manifest, asked, context, obstacle);
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(manifest.attention[chosen.value().attention].backend, "xnnpack");
  EXPECT_NE(chosen.value().why.find(reason), std::string::npos) << chosen.value().why;
  asked.backend = "qnn";
  const auto refused = choose_backend(manifest, asked, context, obstacle);
  EXPECT_EQ(refused.status().code(), StatusCode::kUnsupported);
  EXPECT_NE(refused.status().message().find(reason), std::string::npos) << refused.status().message();
}

TEST(BackendChoice, TakesTheNpuWhereNothingSpeaksAgainstIt) {
  const Manifest manifest = with({cpu(), npu("qnn-sm8750"), npu()});
  for (const char* backend : {"auto", "qnn", "qnn-sm8650"}) {
    for (const char* soc : {"SM8650", "sm8650"}) {
      const auto chosen = choose_backend(manifest, asking(backend, soc), 1024, kNone);
      ASSERT_TRUE(chosen.ok());
      EXPECT_EQ(chosen.value().attention, 2u);
      EXPECT_FALSE(chosen.value().why.empty());
      EXPECT_EQ(chosen.value().may_fall_back, std::string(backend) == "auto");
    }
  }
  EXPECT_EQ(choose_backend(manifest, asking("xnnpack"), 1024, kNone).value().attention, 0u);
}

TEST(BackendChoice, SaysWhyNot) {
  const Manifest both = with({cpu(), npu()});
  expect_reason(both, asking("", "SM8550"), 10, kNone, "this device is SM8550");
  expect_reason(both, asking("", std::nullopt), 10, kNone, "did not name its chip");
  expect_reason(both, asking(""), 1025, kNone, "context of 1024 tokens, 1025 are needed");
  expect_reason(both, asking(""), 10, kNoLibraries, "no libraries");
  for (const KvType kv : {KvType::kFp32, KvType::kInt8}) {
    Options other = asking("");
    other.kv = kv;
    expect_reason(both, other, 10, kNone, "kv=fp16");
  }
}

TEST(BackendChoice, AnotherChipsProgramsAreNotTakenByName) {
  const auto refused =
      choose_backend(with({cpu(), npu("qnn-sm8750"), npu()}), asking("qnn-sm8750", "SM8650"), 10, kNone);
  EXPECT_EQ(refused.status().code(), StatusCode::kUnsupported);
  EXPECT_NE(refused.status().message().find("this device is SM8650"), std::string::npos) << refused.status().message();
  EXPECT_EQ(choose_backend(with({cpu()}), asking("qnn-sm8650"), 10, kNone).status().code(), StatusCode::kUnsupported);
}

TEST(BackendChoice, NothingToFallBackToWithoutProgramsForTheCpu) {
  const auto chosen = choose_backend(with({npu("qnn-sm8750"), npu()}), asking("auto"), 10, kNone);
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(chosen.value().attention, 1u);
  EXPECT_FALSE(chosen.value().may_fall_back);
}

TEST(BackendChoice, APackageOfOneBackend) {
  const auto chosen = choose_backend(with({cpu()}), asking("auto"), 10, kNone);
  ASSERT_TRUE(chosen.ok());
  EXPECT_TRUE(chosen.value().why.empty());
  EXPECT_EQ(choose_backend(with({cpu()}), asking("qnn"), 10, kNone).status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(choose_backend(with({npu()}), asking("auto"), 10, kNoLibraries).status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(choose_backend(with({npu()}), asking("xnnpack"), 10, kNone).status().code(), StatusCode::kUnsupported);
  EXPECT_TRUE(choose_backend(with({npu()}), asking("auto"), 10, kNone).ok());
}

}  // namespace
}  // namespace flashneuron
