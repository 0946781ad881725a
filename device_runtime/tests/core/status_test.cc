#include "flashneuron/status.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

namespace flashneuron {
namespace {

constexpr StatusCode kFailures[] = {StatusCode::kUsage,          StatusCode::kVersionMismatch, StatusCode::kNotFound,
                                    StatusCode::kCorrupt,        StatusCode::kUnsupported,     StatusCode::kNewerFormat,
                                    StatusCode::kBudgetTooSmall, StatusCode::kBadInput,        StatusCode::kIo,
                                    StatusCode::kOutOfMemory,    StatusCode::kInternal};

// The names on the line of PROTOCOL.md that starts with **Error codes**, each in backquotes.
std::set<std::string> protocol_names() {
  std::ifstream protocol(FN_TEST_DATA "/../../device_runtime/PROTOCOL.md");
  std::set<std::string> names;
  for (std::string line; std::getline(protocol, line);) {
    if (!line.starts_with("**Error codes**")) continue;
    std::istringstream parts(line);
    std::string part;
    for (bool name = false; std::getline(parts, part, '`'); name = !name) {
      if (name) names.insert(part);
    }
  }
  return names;
}

TEST(Status, CodesHaveTheNamesOfTheProtocol) {
  std::set<std::string> names;
  for (const StatusCode code : kFailures) names.emplace(status_code_name(code));
  EXPECT_EQ(names, protocol_names());
  EXPECT_EQ(names.size(), std::size(kFailures));
  EXPECT_EQ(status_code_name(StatusCode::kOk), "ok");
}

Result<int> half(int number) {
  if (number % 2 != 0) return Status(StatusCode::kBadInput, "odd");
  return number / 2;
}

Status quarter(int number, int& quarter) {
  FN_ASSIGN_OR_RETURN(const int once, half(number));
  FN_ASSIGN_OR_RETURN(quarter, half(once));
  return {};
}

TEST(Result, MacrosPassValuesAndFailuresOn) {
  int number = 0;
  EXPECT_TRUE(quarter(12, number).ok());
  EXPECT_EQ(number, 3);
  EXPECT_EQ(quarter(6, number).code(), StatusCode::kBadInput);
  EXPECT_EQ(quarter(6, number).message(), "odd");
}

}  // namespace
}  // namespace flashneuron
