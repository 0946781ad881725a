// Strict, total reading of a JSON document: a cursor whose first defect is kept and named by its key.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flashneuron/status.h"

namespace flashneuron {

// One value of a document and where it stands ("model.layers"). A read that fails sets `defect` unless one is set
// already, and gives a harmless value: zero, "", no items. So a reader runs straight on and looks at `defect` at the
// end. `document` and `defect` must outlive the field.
class JsonField {
 public:
  JsonField(const nlohmann::json& document, Status& defect) : value_(&document), defect_(&defect) {}

  // The member of an object. Defect: not an object, or no such member.
  JsonField operator[](std::string_view member) const;
  // The same where the member may be absent; nullopt then.
  std::optional<JsonField> find(std::string_view member) const;
  // The items of a list.
  std::vector<JsonField> items() const;
  // The items of a list that must have this many, one for each of `what`.
  std::vector<JsonField> items(size_t count, std::string_view what) const;
  // A whole number in [least, most].
  uint64_t number(uint64_t least, uint64_t most) const;
  uint32_t number32(uint32_t least, uint32_t most) const { return static_cast<uint32_t>(number(least, most)); }
  // A number in [0, 1].
  double share() const;
  // A number from 0 on, within fp32.
  float positive() const;
  bool flag() const;
  std::string text() const;
  // A text out of `supported`. Defect: kUnsupported for another text.
  std::string one_of(std::initializer_list<std::string_view> supported) const;

  // Defect "KEY PROBLEM".
  void fail(const std::string& problem, StatusCode code = StatusCode::kCorrupt) const;
  bool sound() const { return value_ != nullptr && defect_->ok(); }

 private:
  JsonField(const nlohmann::json* value, std::string key, Status* defect)
      : value_(value), key_(std::move(key)), defect_(defect) {}
  JsonField child(const nlohmann::json* value, std::string key) const { return {value, std::move(key), defect_}; }

  const nlohmann::json* value_;  // nullptr after a defect
  std::string key_;
  Status* defect_;
};

// `text` as one short line of ASCII in double quotes, for messages about input that may hold anything.
std::string in_quotes(const std::string& text);

}  // namespace flashneuron
