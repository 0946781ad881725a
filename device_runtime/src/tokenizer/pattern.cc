#include "tokenizer/pattern.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <span>

#include "tokenizer/unicode.h"

namespace flashneuron {
namespace {

using Item = Pattern::Item;
using Items = std::span<const Item>;
using End = std::optional<size_t>;
using Rest = std::function<End(size_t)>;

// Simple case folding, as far as it reaches ASCII: the long s and the sign of Kelvin are letters in any case.
char32_t folded(char32_t c) { return c >= 'A' && c <= 'Z' ? c + 32 : c == 0x17F ? U's' : c == 0x212A ? U'k' : c; }

End match(Items items, std::u32string_view text, size_t at, const Rest& rest);

End match_any(const std::vector<Pattern::Sequence>& group, std::u32string_view text, size_t at, const Rest& rest) {
  for (const Pattern::Sequence& items : group) {
    if (const End end = match(items, text, at, rest)) return end;
  }
  return std::nullopt;
}

// The end of the match of `items` from `at` and of whatever `rest` wants after it.
End match(Items items, std::u32string_view text, size_t at, const Rest& rest) {
  if (items.empty()) return rest(at);
  const Item& item = items.front();
  const Items after = items.subspan(1);
  switch (item.kind) {
    case Item::Kind::kSet: {
      size_t count = 0;
      while (count < item.most && at + count < text.size() && item.set.has(text[at + count])) ++count;
      for (; count >= item.least; --count) {
        const End end = match(after, text, at + count, rest);
        if (end || item.possessive || count == 0) return end;
      }
      return std::nullopt;
    }
    case Item::Kind::kGroup: {
      const End end = match_any(item.group, text, at, [&](size_t next) { return match(after, text, next, rest); });
      return end || item.least > 0 ? end : match(after, text, at, rest);
    }
    case Item::Kind::kAhead:
    case Item::Kind::kNotAhead: {
      const End ahead = match_any(item.group, text, at, [](size_t next) { return End(next); });
      return ahead.has_value() == (item.kind == Item::Kind::kAhead) ? match(after, text, at, rest) : std::nullopt;
    }
  }
  return std::nullopt;
}

class Parser {
 public:
  explicit Parser(std::u32string_view text) : text_(text) {}

  Result<std::vector<Pattern::Sequence>> whole() {
    FN_ASSIGN_OR_RETURN(std::vector<Pattern::Sequence> alternatives, choices(false));
    if (at_ < text_.size()) return refused("a ')' that closes nothing");
    return alternatives;
  }

 private:
  bool take(std::u32string_view wanted) {
    if (text_.substr(at_, wanted.size()) != wanted) return false;
    at_ += wanted.size();
    return true;
  }
  Status refused(const std::string& what) const {
    return {StatusCode::kUnsupported, "the tokenizer's expression '" + to_utf8(text_) + "' has " + what +
                                          ", which is not known here; use another model, or a newer runtime"};
  }
  Status broken(const std::string& what) const {
    return {StatusCode::kCorrupt, "the tokenizer's expression '" + to_utf8(text_) + "' has " + what};
  }

  Result<std::vector<Pattern::Sequence>> choices(bool any_case) {
    std::vector<Pattern::Sequence> alternatives(1);
    while (at_ < text_.size() && text_[at_] != ')') {
      if (take(U"|")) {
        alternatives.emplace_back();
        continue;
      }
      FN_ASSIGN_OR_RETURN(Item item, one(any_case));
      FN_RETURN_IF_ERROR(repetition(item));
      alternatives.back().push_back(std::move(item));
    }
    return alternatives;
  }

  Result<Item> one(bool any_case) {
    Item item;
    item.set.any_case = any_case;
    if (take(U"(")) {
      item.kind = Item::Kind::kGroup;
      if (take(U"?!")) {
        item.kind = Item::Kind::kNotAhead;
      } else if (take(U"?=")) {
        item.kind = Item::Kind::kAhead;
      } else if (take(U"?i:")) {
        any_case = true;
      } else if (!take(U"?:") && take(U"?")) {
        return refused("a group of a special kind");
      }
      FN_ASSIGN_OR_RETURN(item.group, choices(any_case));
      if (!take(U")")) return broken("a '(' that is not closed");
      return item;
    }
    if (take(U"[")) {
      FN_RETURN_IF_ERROR(bracket(item.set));
      return item;
    }
    if (std::u32string_view(U".^$*+?{}]").find(text_[at_]) != std::u32string_view::npos) {
      return refused("'" + to_utf8(text_.substr(at_, 1)) + "' at " + std::to_string(at_));
    }
    FN_RETURN_IF_ERROR(character(item.set));
    return item;
  }

  // One character or escape, into `set`.
  Status character(CharacterSet& set) {
    if (!take(U"\\")) {
      if (set.any_case && text_[at_] >= 0x80) return refused("letters beyond ASCII in any case");
      set.ranges.emplace_back(text_[at_], text_[at_]);
      ++at_;
      return {};
    }
    static constexpr std::u32string_view kPlain = U"\\.^$*+?(){}[]|/-'\"# ";
    if (take(U"s")) return set.classes |= kSpace, Status();
    if (take(U"S")) return set.not_classes |= kSpace, Status();
    if (take(U"p{L}")) return set.classes |= kLetter, Status();
    if (take(U"P{L}")) return set.not_classes |= kLetter, Status();
    if (take(U"p{N}")) return set.classes |= kNumber, Status();
    if (take(U"P{N}")) return set.not_classes |= kNumber, Status();
    if (at_ == text_.size()) return broken("a '\\' with nothing after it");
    const char32_t c = text_[at_];
    const char32_t meant = c == 'r' ? U'\r' : c == 'n' ? U'\n' : c == 't' ? U'\t' : c;
    if (meant == c && kPlain.find(c) == std::u32string_view::npos) {
      return refused("'\\" + to_utf8(text_.substr(at_, c == 'p' || c == 'P' ? 5 : 1)) + "'");
    }
    set.ranges.emplace_back(meant, meant);
    ++at_;
    return {};
  }

  // After the [.
  Status bracket(CharacterSet& set) {
    set.negated = take(U"^");
    for (bool first = true; !take(U"]"); first = false) {
      if (at_ == text_.size()) return broken("a '[' that is not closed");
      if (text_[at_] == '[' || text_.substr(at_, 2) == U"&&" || (first && text_[at_] == ']')) {
        return refused("a set within a set");
      }
      const size_t before = set.ranges.size();
      FN_RETURN_IF_ERROR(character(set));
      const bool is_range =
          set.ranges.size() > before && text_.substr(at_, 1) == U"-" && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
      if (!is_range) continue;
      ++at_;
      FN_RETURN_IF_ERROR(character(set));
      if (set.ranges.size() != before + 2 || set.ranges[before].first > set.ranges[before + 1].first) {
        return broken("a range that does not ascend");
      }
      set.ranges[before].second = set.ranges.back().first;
      set.ranges.pop_back();
    }
    return {};
  }

  Status repetition(Item& item) {
    const size_t begin = at_;
    bool braces = false;
    if (take(U"?")) {
      item.least = 0;
    } else if (take(U"*")) {
      item.least = 0, item.most = UINT32_MAX;
    } else if (take(U"+")) {
      item.most = UINT32_MAX;
    } else if (take(U"{")) {
      braces = true;
      FN_ASSIGN_OR_RETURN(item.least, number());
      item.most = item.least;
      if (take(U",")) {
        item.most = UINT32_MAX;
        if (text_.substr(at_, 1) != U"}") {
          FN_ASSIGN_OR_RETURN(item.most, number());
        }
      }
      if (!take(U"}") || item.most < item.least) return broken("a '{' that counts nothing");
    } else {
      return {};
    }
    const bool of_set = item.kind == Item::Kind::kSet;
    item.possessive = of_set && !braces && take(U"+");
    const bool more = at_ < text_.size() && std::u32string_view(U"?*+{").find(text_[at_]) != std::u32string_view::npos;
    if (more || (!of_set && text_.substr(begin, at_ - begin) != U"?") || (!of_set && item.kind != Item::Kind::kGroup)) {
      return refused("a repetition '" + to_utf8(text_.substr(begin, at_ - begin + more)) + "' of this kind");
    }
    return {};
  }

  Result<uint32_t> number() {
    uint32_t value = 0;
    const size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      value = value * 10 + (text_[at_] - U'0');
      if (value > 100000) return broken("a count beyond 100000");
    }
    if (at_ == begin) return broken("a '{' that counts nothing");
    return value;
  }

  std::u32string_view text_;
  size_t at_ = 0;
};

}  // namespace

bool CharacterSet::has(char32_t character) const {
  const auto within = [&](char32_t c) {
    return std::any_of(ranges.begin(), ranges.end(),
                       [c](const auto& range) { return c >= range.first && c <= range.second; });
  };
  bool found = within(character);
  if (!found && any_case) {
    const char32_t lower = folded(character);
    found = within(lower) || (lower >= 'a' && lower <= 'z' && within(lower - 32));
  }
  if (!found && (classes || not_classes)) {
    const uint8_t own = classes_of(character);
    found = (own & classes) != 0 || (~own & not_classes) != 0;
  }
  return found != negated;
}

Result<Pattern> Pattern::parse(const std::string& expression) {
  const Result<std::u32string> text = from_utf8(expression);
  if (!text.ok()) return Status(StatusCode::kCorrupt, "an expression of the tokenizer is not UTF-8");
  Pattern pattern;
  FN_ASSIGN_OR_RETURN(pattern.alternatives_, Parser(text.value()).whole());
  return pattern;
}

Pattern Pattern::literal(std::u32string_view text) {
  Pattern pattern;
  Sequence& items = pattern.alternatives_.emplace_back();
  for (const char32_t character : text) {
    Item item;
    item.set.ranges = {{character, character}};
    items.push_back(item);
  }
  return pattern;
}

std::vector<std::pair<size_t, size_t>> Pattern::matches(std::u32string_view text) const {
  static const Rest kAnything = [](size_t at) { return End(at); };
  std::vector<std::pair<size_t, size_t>> found;
  for (size_t at = 0; at < text.size();) {
    const End end = match_any(alternatives_, text, at, kAnything);
    if (end && *end > at) {
      found.emplace_back(at, *end);
      at = *end;
    } else {
      ++at;
    }
  }
  return found;
}

}  // namespace flashneuron
