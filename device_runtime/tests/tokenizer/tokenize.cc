// tokenize FILE: a tokenizer.json asked over pipes. A line of standard input is a JSON string, answered by its ids, or
// a JSON list of ids, answered by their text; what is refused is answered by {"error": "CODE: message"}. The first line
// of output is {} or the reason why FILE is refused.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace {

using flashneuron::Status;
using nlohmann::json;

json error_of(const Status& status) {
  return {{"error", std::string(flashneuron::status_code_name(status.code())) + ": " + status.message()}};
}

json answer(const flashneuron::Tokenizer& tokenizer, const json& question) {
  if (question.is_array()) return tokenizer.decode(question.get<std::vector<int32_t>>());
  const auto ids = tokenizer.encode(question.get<std::string>());
  return ids.ok() ? json(ids.value()) : error_of(ids.status());
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 2;
  const auto tokenizer = flashneuron::Tokenizer::open(words[1]);
  std::cout << (tokenizer.ok() ? json::object() : error_of(tokenizer.status())).dump() << std::endl;
  if (!tokenizer.ok()) return 1;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(tokenizer.value(), json::parse(line)).dump() << std::endl;
  }
}
