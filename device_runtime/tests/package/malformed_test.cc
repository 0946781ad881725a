// The numbered malformed cases of FORMAT.md, which the Python reader answers with the same codes.
#include <gtest/gtest.h>

#include "package/package.h"
#include "scratch_package.h"

namespace flashneuron {
namespace {

using nlohmann::json;
using testing::open_all;
using testing::ScratchPackage;

std::vector<json> cases() {
  return json::parse(testing::read_text(FN_TEST_DATA "/malformed.json")).at("cases").get<std::vector<json>>();
}

class Malformed : public ::testing::TestWithParam<json> {};

TEST_P(Malformed, IsRefusedWithItsCodeInOneLine) {
  const ScratchPackage package;
  package.edit(GetParam().at("file"), GetParam().at("edit"));
  const Status status = open_all(package.folder());
  EXPECT_EQ(status_code_name(status.code()), GetParam().at("code").get<std::string>()) << status.message();
  EXPECT_EQ(status.message().find('\n'), std::string::npos);
  EXPECT_FALSE(status.message().empty());
}

std::string case_name(const ::testing::TestParamInfo<json>& info) {
  return "Case" + std::to_string(info.param.at("number").get<int>());
}

INSTANTIATE_TEST_SUITE_P(Format, Malformed, ::testing::ValuesIn(cases()), case_name);

TEST(WellFormed, OpensAndChecks) {
  const ScratchPackage package;
  const Status status = open_all(package.folder());
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(WellFormed, AGatedPackageToo) {
  const std::string folder = FN_TEST_DATA "/tiny_gated_package";
  const Status status = open_all(folder);
  ASSERT_TRUE(status.ok()) << status.message();
  const Package package = Package::open(folder, std::nullopt).value();
  const ActivationRule rule = package.manifest().model.rule(0);
  EXPECT_TRUE(rule.gated);
  EXPECT_EQ(rule.activation, Activation::kSilu);
  EXPECT_EQ(rule.on, ThresholdOn::kGate);
  EXPECT_EQ(rule.threshold, 0.125f);
  EXPECT_EQ(package.manifest().ffn.variants[1].layers[0].gate.size(), 1u);
}

}  // namespace
}  // namespace flashneuron
