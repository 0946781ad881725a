// Status and Result: how every fallible call of the runtime answers. No exception crosses the API.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace flashneuron {

// The names on the wire are in PROTOCOL.md ("Error codes").
enum class StatusCode {
  kOk,
  kUsage,
  kVersionMismatch,
  kNotFound,
  kCorrupt,
  kUnsupported,
  kNewerFormat,
  kBudgetTooSmall,
  kBadInput,
  kIo,
  kOutOfMemory,
  kInternal,
};

std::string_view status_code_name(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  // `message` is one line: what is wrong and, where possible, what to do.
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

// A value or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  // Precondition: ok().
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return std::move(*value_); }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace flashneuron

#define FN_RETURN_IF_ERROR(expression)                                    \
  do {                                                                    \
    if (auto fn_status = (expression); !fn_status.ok()) return fn_status; \
  } while (false)

#define FN_CONCAT_INNER(a, b) a##b
#define FN_CONCAT(a, b) FN_CONCAT_INNER(a, b)
// FN_ASSIGN_OR_RETURN(auto x, make_x());
#define FN_ASSIGN_OR_RETURN(declaration, expression) \
  FN_ASSIGN_OR_RETURN_IMPL(FN_CONCAT(fn_result_, __LINE__), declaration, expression)
#define FN_ASSIGN_OR_RETURN_IMPL(result, declaration, expression) \
  auto result = (expression);                                     \
  if (!result.ok()) return result.status();                       \
  declaration = std::move(result).value()
