// Regular expressions of tokenizer.json: the part that byte-level tokenisers use, matched by backtracking over code
// points as Oniguruma (the reference's library) does.
//
// Taken: characters and \r \n \t; classes [...] and [^...] with ranges, \s \S \p{L} \p{N} \P{L} \P{N}; groups (?:...),
// (...) and (?i:...) with |; a look ahead (?=...) or (?!...); ? * + {m} {m,n} of one character, possessive with one +
// more (but for {}); ? of a group. Anything else is refused by name, since a rule that is read wrongly gives other
// tokens without a word.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flashneuron/status.h"

namespace flashneuron {

// Which characters one place of a pattern takes.
struct CharacterSet {
  std::vector<std::pair<char32_t, char32_t>> ranges;
  uint8_t classes = 0;      // CharClass bits: any of them
  uint8_t not_classes = 0;  // those: any of them missing
  bool negated = false;
  bool any_case = false;

  bool has(char32_t character) const;
};

class Pattern {
 public:
  // Errors: kUnsupported with what is not known, kCorrupt (not UTF-8, a bracket that is not closed).
  static Result<Pattern> parse(const std::string& expression);
  // Matches just this text.
  static Pattern literal(std::u32string_view text);

  // All matches from left to right, [begin, end), none of them empty.
  std::vector<std::pair<size_t, size_t>> matches(std::u32string_view text) const;

  struct Item;
  using Sequence = std::vector<Item>;

 private:
  std::vector<Sequence> alternatives_;
};

struct Pattern::Item {
  enum class Kind { kSet, kGroup, kAhead, kNotAhead };
  Kind kind = Kind::kSet;
  CharacterSet set;
  std::vector<Sequence> group;
  uint32_t least = 1, most = 1;  // how often; of a set, or 0 to 1 of a group
  bool possessive = false;
};

}  // namespace flashneuron
