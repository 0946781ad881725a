#include "tokenizer/rules.h"

#include <array>
#include <utility>

#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

namespace flashneuron {
namespace {

// GPT-2's own expression, by which ByteLevel splits unless it is told not to.
constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

using Spans = std::vector<std::pair<size_t, size_t>>;

std::u32string text_of(const JsonField& field) {
  Result<std::u32string> text = from_utf8(field.text());
  return text.ok() ? std::move(text).value() : std::u32string();  // JSON's strings are UTF-8
}

char32_t character_in(const JsonField& field) {
  const std::u32string text = text_of(field);
  if (field.sound() && text.size() != 1) field.fail("is not one character");
  return text.empty() ? U' ' : text[0];
}

bool flag_in(const JsonField& field, std::string_view member, bool otherwise) {
  const auto found = field.find(member);
  return found ? found->flag() : otherwise;
}

// {"String": …} or {"Regex": …}.
Pattern pattern_in(const JsonField& field) {
  if (const auto literal = field.find("String")) return Pattern::literal(text_of(*literal));
  const JsonField expression = field["Regex"];
  Result<Pattern> pattern = Pattern::parse(expression.text());
  if (pattern.ok()) return std::move(pattern).value();
  expression.fail("is not usable: " + pattern.status().message(), pattern.status().code());
  return Pattern::literal(U"");
}

std::u32string replaced(const std::u32string& text, const Pattern& pattern, const std::u32string& with) {
  std::u32string result;
  size_t at = 0;
  for (const auto& [begin, end] : pattern.matches(text)) {
    result.append(text, at, begin - at).append(with);
    at = end;
  }
  return result.append(text, at);
}

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior behavior_in(const JsonField& field) {
  static constexpr std::array kNames = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
  const std::string name = field.one_of({kNames[0], kNames[1], kNames[2], kNames[3], kNames[4]});
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<Behavior>(i);
  }
  return Behavior::kIsolated;
}

// A text as parts that are delimiters or lie between them, joined or left out as `behavior` says.
Spans parts_of(size_t length, const Spans& delimiters, bool invert, Behavior behavior) {
  std::vector<std::pair<std::pair<size_t, size_t>, bool>> all;  // with "is a delimiter"
  size_t at = 0;
  for (const auto& [begin, end] : delimiters) {
    if (begin > at) all.push_back({{at, begin}, invert});
    all.push_back({{begin, end}, !invert});
    at = end;
  }
  if (at < length) all.push_back({{at, length}, invert});
  Spans parts;
  bool open = false;  // MergedWithNext: the last part waits for what follows
  bool before = false;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto [span, delimits] = all[i];
    const bool same = i > 0 && delimits == before;
    bool joins = false;
    if (behavior == Behavior::kContiguous) joins = same;
    if (behavior == Behavior::kMergedWithPrevious) joins = i > 0 && delimits && !before;
    if (behavior == Behavior::kMergedWithNext) joins = open && !delimits;
    open = delimits;
    before = delimits;
    if (behavior == Behavior::kRemoved && delimits) continue;
    if (joins) {
      parts.back().second = span.second;
    } else {
      parts.push_back(span);
    }
  }
  return parts;
}

void split(std::vector<Piece>& pieces, const std::function<Spans(const std::u32string&)>& parts) {
  std::vector<Piece> result;
  for (const Piece& piece : pieces) {
    for (const auto& [begin, end] : parts(piece.text)) {
      result.push_back({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
    }
  }
  pieces = std::move(result);
}

PreTokenizer split_by_pattern(Pattern pattern, bool invert, Behavior behavior) {
  return [=](std::vector<Piece>& pieces) {
    split(pieces,
          [&](const std::u32string& text) { return parts_of(text.size(), pattern.matches(text), invert, behavior); });
  };
}

// Each character of the class is a delimiter of its own.
PreTokenizer split_by_class(CharClass wanted, Behavior behavior) {
  return [=](std::vector<Piece>& pieces) {
    split(pieces, [&](const std::u32string& text) {
      Spans found;
      for (size_t at = 0; at < text.size(); ++at) {
        if (classes_of(text[at]) & wanted) found.emplace_back(at, at + 1);
      }
      return parts_of(text.size(), found, false, behavior);
    });
  };
}

PreTokenizer byte_level(const JsonField& field) {
  const bool prefix = field["add_prefix_space"].flag();
  PreTokenizer words = [](std::vector<Piece>&) {};
  if (flag_in(field, "use_regex", true)) {
    words = split_by_pattern(Pattern::parse(kGpt2).value(), false, Behavior::kIsolated);
  }
  return [=](std::vector<Piece>& pieces) {
    for (Piece& piece : pieces) {
      if (prefix && !piece.text.starts_with(U' ')) piece.text.insert(piece.text.begin(), U' ');
    }
    words(pieces);
    for (Piece& piece : pieces) {
      std::u32string spelt;
      for (const char byte : to_utf8(piece.text)) spelt += character_of_byte(static_cast<uint8_t>(byte));
      piece.text = std::move(spelt);
    }
  };
}

// "always", "first" or "never" is a space put in front; older files have a flag instead.
std::string prepend_scheme(const JsonField& field) {
  if (const auto scheme = field.find("prepend_scheme")) return scheme->one_of({"always", "first", "never"});
  return flag_in(field, "add_prefix_space", true) ? "always" : "never";
}

PreTokenizer metaspace(const JsonField& field) {
  const char32_t mark = character_in(field["replacement"]);
  const std::string scheme = prepend_scheme(field);
  PreTokenizer words = [](std::vector<Piece>&) {};
  if (flag_in(field, "split", true)) {
    words = split_by_pattern(Pattern::literal({&mark, 1}), false, Behavior::kMergedWithNext);
  }
  return [=](std::vector<Piece>& pieces) {
    for (Piece& piece : pieces) {
      for (char32_t& character : piece.text) character = character == U' ' ? mark : character;
      const bool wanted = scheme == "always" || (scheme == "first" && piece.at_start);
      if (wanted && !piece.text.starts_with(mark)) piece.text.insert(piece.text.begin(), mark);
    }
    words(pieces);
  };
}

}  // namespace

char32_t character_of_byte(uint8_t byte) {
  static const auto kAlphabet = [] {
    std::array<char32_t, 256> alphabet{};
    char32_t next = 256;
    for (char32_t c = 0; c < 256; ++c) {
      const bool printable = (c > 0x20 && c < 0x7F) || (c > 0xA0 && c != 0xAD);
      alphabet[c] = printable ? c : next++;
    }
    return alphabet;
  }();
  return kAlphabet[byte];
}

Normalizer make_normalizer(const JsonField& field) {
  const std::string type = field["type"].one_of({"NFC", "Prepend", "Replace", "Sequence"});
  if (type == "Sequence") {
    std::vector<Normalizer> steps;
    for (const JsonField& item : field["normalizers"].items()) steps.push_back(make_normalizer(item));
    return [=](std::u32string text) {
      for (const Normalizer& step : steps) text = step(std::move(text));
      return text;
    };
  }
  if (type == "Prepend") {
    return [front = text_of(field["prepend"])](std::u32string text) { return text.empty() ? text : front + text; };
  }
  if (type == "Replace") {
    return [pattern = pattern_in(field["pattern"]), with = text_of(field["content"])](std::u32string text) {
      return replaced(text, pattern, with);
    };
  }
  return [](std::u32string text) { return nfc(text); };
}

PreTokenizer make_pre_tokenizer(const JsonField& field) {
  const std::string type =
      field["type"].one_of({"ByteLevel", "Split", "Digits", "Punctuation", "Metaspace", "Sequence"});
  if (type == "ByteLevel") return byte_level(field);
  if (type == "Metaspace") return metaspace(field);
  if (type == "Split") {
    return split_by_pattern(pattern_in(field["pattern"]), flag_in(field, "invert", false),
                            behavior_in(field["behavior"]));
  }
  if (type == "Digits") {
    const bool apart = field["individual_digits"].flag();
    return split_by_class(kNumeric, apart ? Behavior::kIsolated : Behavior::kContiguous);
  }
  if (type == "Punctuation") {
    const auto behavior = field.find("behavior");
    return split_by_class(kPunctuation, behavior ? behavior_in(*behavior) : Behavior::kIsolated);
  }
  std::vector<PreTokenizer> steps;
  if (type == "Sequence") {
    for (const JsonField& item : field["pretokenizers"].items()) steps.push_back(make_pre_tokenizer(item));
  }
  return [=](std::vector<Piece>& pieces) {
    for (const PreTokenizer& step : steps) step(pieces);
  };
}

}  // namespace flashneuron
