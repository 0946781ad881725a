// The KV cache in the budget, and the element that a model's heads are too short for.
#include <gtest/gtest.h>

#include <string>

#include "engine/memory_budget.h"
#include "flashneuron/engine.h"
#include "support/tiny_package.h"

namespace flashneuron {
namespace {

Result<Budget> budget_with(const testing::TinyPackage& files, KvType kv) {
  Options options;
  options.package = files.folder();
  options.kv = kv;
  return Engine::budget(options);
}

TEST(KvBudget, CountsTheBytesOfItsElement) {
  const testing::TinyPackage files({.max_context = 512});  // 2 layers, 2 heads of 20
  const auto bytes = [&](KvType kv) { return role_bytes(budget_with(files, kv).value(), "kv"); };
  EXPECT_EQ(bytes(KvType::kFp32), 2 * 2 * 512 * 160);
  EXPECT_EQ(bytes(KvType::kFp16), 2 * 2 * 512 * 80);
  EXPECT_EQ(bytes(KvType::kInt8), 2 * 2 * 512 * 48);  // 40 integers, 2 scales
}

TEST(KvBudget, HeadsTooShortForInt8AreRefused) {
  const testing::TinyPackage files({.hidden_size = 8});  // 2 heads of 4
  EXPECT_TRUE(budget_with(files, KvType::kFp16).ok());
  const Result<Budget> refused = budget_with(files, KvType::kInt8);
  EXPECT_EQ(refused.status().code(), StatusCode::kUnsupported);
  EXPECT_NE(refused.status().message().find("use kv=fp16"), std::string::npos) << refused.status().message();
}

}  // namespace
}  // namespace flashneuron
