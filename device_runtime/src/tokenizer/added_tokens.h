// Tokens that are found in the text before anything else is done with it: <|im_start|> and the like.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "package/json_field.h"
#include "tokenizer/rules.h"

namespace flashneuron {

class AddedTokens {
 public:
  // A part of a text: a token, or text between tokens.
  struct Part {
    std::optional<int32_t> id;
    size_t begin = 0, end = 0;
  };

  // `added_tokens` of a tokenizer.json. Those marked `normalized` are looked for in normalised text, spelt as
  // `normalizer` (may be null) makes them. Defects are the field's.
  AddedTokens(const JsonField& field, const Normalizer& normalizer);

  // The longest token from left to right. `normalized`: those of normalised text, else the others.
  std::vector<Part> find(std::u32string_view text, bool normalized) const;
  const std::string* token_of(int32_t id) const;  // null: not an added one
  bool is_special(const std::string& token) const { return special_.contains(token); }

 private:
  struct Token {
    std::u32string spelt;
    int32_t id = 0;
    bool strip_left = false, strip_right = false;
  };
  using Index = std::unordered_map<char32_t, std::vector<Token>>;  // by the first character, longest first

  Index index_[2];  // by `normalized`
  std::unordered_map<int32_t, std::string> tokens_;
  std::set<std::string> special_;
};

}  // namespace flashneuron
