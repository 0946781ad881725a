// What OperatorProfile writes while a real program runs; ExecuTorch's Inspector reads it in the Python tests.
#include "attention/operator_profile.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "attention/executorch_program.h"
#include "support/temp_folder.h"

namespace flashneuron {
namespace {

namespace fs = std::filesystem;
using executorch::aten::ScalarType;

constexpr int32_t kHidden = 32;
constexpr int32_t kVocab = 32;

nlohmann::json dumps_of(const fs::path& folder) {
  return nlohmann::json::parse(std::ifstream(folder / "index.json")).at("dumps");
}

TEST(OperatorProfile, WritesADumpForEachProgramThatRanInAPhase) {
  const testing::TempFolder folder;
  const fs::path place = folder.path() / "profile";
  auto profile = OperatorProfile::create(place);
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  ProgramContext context(profile.value().get());
  auto program = ExecutorchProgram::open(std::string(FN_TEST_DATA) + "/attention/pre-fp32/head.pte", "head.pte");
  ASSERT_TRUE(program.ok()) << program.status().message();
  std::vector<float> hidden(kHidden, 1.0f), logits(kVocab);
  const TensorView in{ScalarType::Float, {1, kHidden}, hidden.data()};
  const std::vector<TensorView> out{{ScalarType::Float, {1, kVocab}, logits.data()}};
  context.reserve(program.value()->planned_bytes().value());
  ASSERT_TRUE(context.allocate().ok());
  ASSERT_TRUE(program.value()->load(context, out).ok());

  ASSERT_TRUE(profile.value()->write("prefill").ok());
  EXPECT_TRUE(dumps_of(place).empty()) << "loading is not a run";
  for (int run = 0; run < 2; ++run) ASSERT_TRUE(program.value()->run(std::vector<TensorView>{in, in}).ok());
  ASSERT_TRUE(profile.value()->write("decode").ok());
  const nlohmann::json dumps = dumps_of(place);
  ASSERT_EQ(dumps.size(), 1u);
  EXPECT_EQ(dumps[0]["phase"], "decode");
  EXPECT_EQ(dumps[0]["program"], "head.pte");
  EXPECT_EQ(dumps[0]["method"], "forward");
  EXPECT_GT(fs::file_size(place / dumps[0]["file"].get<std::string>()), 0u);
}

TEST(OperatorProfile, RefusesAFolderThatItCannotMake) {
  const testing::TempFolder folder;
  const auto there = OperatorProfile::create(folder.path());
  EXPECT_EQ(there.status().code(), StatusCode::kIo);
  EXPECT_NE(there.status().message().find("exists"), std::string::npos);
  EXPECT_EQ(OperatorProfile::create(folder.path() / "no" / "where").status().code(), StatusCode::kIo);
}

TEST(OperatorProfile, SaysWhereItCouldNotWrite) {
  const testing::TempFolder folder;
  auto profile = OperatorProfile::create(folder.path() / "profile");
  ASSERT_TRUE(profile.ok());
  fs::remove(folder.path() / "profile");
  const Status status = profile.value()->write("decode");
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_NE(status.message().find("index.json"), std::string::npos);
}

}  // namespace
}  // namespace flashneuron
