#include "package/json_field.h"

#include <algorithm>
#include <limits>

namespace flashneuron {

using nlohmann::json;

std::string in_quotes(const std::string& text) {
  constexpr size_t kLongest = 100;
  const bool cut = text.size() > kLongest;
  return json(cut ? text.substr(0, kLongest) + "..." : text).dump(-1, ' ', true, json::error_handler_t::replace);
}

void JsonField::fail(const std::string& problem, StatusCode code) const {
  if (defect_->ok()) *defect_ = Status(code, (key_.empty() ? "the document" : key_) + " " + problem);
}

JsonField JsonField::operator[](std::string_view member) const {
  const std::string key = key_.empty() ? std::string(member) : key_ + "." + std::string(member);
  if (value_ == nullptr) return child(nullptr, key);
  if (!value_->is_object()) {
    fail("is not an object");
    return child(nullptr, key);
  }
  const auto found = value_->find(member);
  const JsonField field = child(found == value_->end() ? nullptr : &*found, key);
  if (field.value_ == nullptr) field.fail("is missing");
  return field;
}

std::optional<JsonField> JsonField::find(std::string_view member) const {
  if (value_ != nullptr && value_->is_object() && !value_->contains(member)) return std::nullopt;
  return (*this)[member];
}

std::vector<JsonField> JsonField::items() const {
  std::vector<JsonField> fields;
  if (value_ == nullptr) return fields;
  if (!value_->is_array()) {
    fail("is not a list");
    return fields;
  }
  fields.reserve(value_->size());
  for (const json& item : *value_) fields.push_back(child(&item, key_ + "[" + std::to_string(fields.size()) + "]"));
  return fields;
}

std::vector<JsonField> JsonField::items(size_t count, std::string_view what) const {
  std::vector<JsonField> fields = items();
  if (sound() && fields.size() != count) {
    fail("has " + std::to_string(fields.size()) + " items for " + std::to_string(count) + " " + std::string(what));
    fields.clear();
  }
  return fields;
}

uint64_t JsonField::number(uint64_t least, uint64_t most) const {
  if (value_ == nullptr) return 0;
  if (value_->is_number_unsigned()) {
    const auto number = value_->get<uint64_t>();
    if (number >= least && number <= most) return number;
  }
  const std::string range = std::to_string(least) + " to " + std::to_string(most);
  fail((value_->is_number_integer() ? "is " + value_->dump() : "is not a whole number") + ", must be " + range);
  return 0;
}

double JsonField::share() const {
  if (value_ == nullptr) return 0;
  const double number = value_->is_number() ? value_->get<double>() : -1;
  if (number >= 0 && number <= 1) return number;
  fail("is not a number from 0 to 1");
  return 0;
}

float JsonField::positive() const {
  if (value_ == nullptr) return 0;
  const double number = value_->is_number() ? value_->get<double>() : -1;
  if (number >= 0 && number <= std::numeric_limits<float>::max()) return static_cast<float>(number);
  fail("is not a number from 0 on");
  return 0;
}

bool JsonField::flag() const {
  if (value_ == nullptr) return false;
  if (value_->is_boolean()) return value_->get<bool>();
  fail("is not true or false");
  return false;
}

std::string JsonField::text() const {
  if (value_ == nullptr) return {};
  if (value_->is_string()) return value_->get<std::string>();
  fail("is not a text");
  return {};
}

std::string JsonField::one_of(std::initializer_list<std::string_view> supported) const {
  std::string value = text();
  if (!sound() || std::find(supported.begin(), supported.end(), value) != supported.end()) return value;
  std::string names;
  for (const std::string_view name : supported) names += (names.empty() ? "" : ", ") + std::string(name);
  fail("is " + in_quotes(value) + ", this runtime supports: " + names, StatusCode::kUnsupported);
  return {};
}

}  // namespace flashneuron
