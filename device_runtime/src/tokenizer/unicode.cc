#include "tokenizer/unicode.h"

#include <algorithm>
#include <iterator>

namespace flashneuron {
namespace {

struct Range {
  char32_t first, last;
  uint8_t value;
};
struct Apart {
  char32_t whole;
  char32_t parts[4];  // 0 after the last
};
struct Together {
  char32_t first, second, whole;
};
#include "tokenizer/unicode_tables.inc"

// Of sorted ranges that do not overlap; 0 between them.
template <size_t kCount>
uint8_t value_in(const Range (&ranges)[kCount], char32_t character) {
  const auto after = std::upper_bound(std::begin(ranges), std::end(ranges), character,
                                      [](char32_t wanted, const Range& range) { return wanted < range.first; });
  if (after == std::begin(ranges)) return 0;
  const Range& found = *std::prev(after);
  return character <= found.last ? found.value : 0;
}

// One character from `bytes`, of `taken` bytes. False: `taken` bytes, one at least, are no character.
bool read_character(std::string_view bytes, char32_t& character, size_t& taken) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t lead = byte(0);
  taken = 1;
  if (lead < 0x80) {
    character = lead;
    return true;
  }
  const size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0) return false;
  // The second byte's range leaves out overlong forms, surrogates and what is beyond U+10FFFF.
  uint8_t least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  character = lead & (0x7F >> length);
  for (; taken < length; ++taken, least = 0x80, most = 0xBF) {
    if (taken == bytes.size() || byte(taken) < least || byte(taken) > most) return false;
    character = (character << 6) | (byte(taken) & 0x3F);
  }
  return true;
}

// Hangul syllables are composed by arithmetic (The Unicode Standard, section 3.12).
constexpr char32_t kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11A7, kSyllables = 0xAC00;
constexpr char32_t kLeadCount = 19, kVowelCount = 21, kTailCount = 28;

void append_apart(std::u32string& text, char32_t character) {
  if (const char32_t syllable = character - kSyllables; syllable < kLeadCount * kVowelCount * kTailCount) {
    text += kLeads + syllable / (kVowelCount * kTailCount);
    text += kVowels + syllable / kTailCount % kVowelCount;
    if (const char32_t tail = syllable % kTailCount) text += kTails + tail;
    return;
  }
  const auto found = std::lower_bound(std::begin(kApart), std::end(kApart), character,
                                      [](const Apart& row, char32_t wanted) { return row.whole < wanted; });
  if (found == std::end(kApart) || found->whole != character) {
    text += character;
    return;
  }
  for (const char32_t part : found->parts) {
    if (part) text += part;
  }
}

// What two characters compose, 0 for nothing.
char32_t composed(char32_t first, char32_t second) {
  if (first - kLeads < kLeadCount && second - kVowels < kVowelCount) {
    return kSyllables + ((first - kLeads) * kVowelCount + (second - kVowels)) * kTailCount;
  }
  const char32_t syllable = first - kSyllables;
  if (syllable < kLeadCount * kVowelCount * kTailCount && syllable % kTailCount == 0 && second > kTails &&
      second < kTails + kTailCount) {
    return first + (second - kTails);
  }
  const auto found = std::lower_bound(std::begin(kTogether), std::end(kTogether), std::pair(first, second),
                                      [](const Together& row, const std::pair<char32_t, char32_t>& wanted) {
                                        return std::pair(row.first, row.second) < wanted;
                                      });
  return found != std::end(kTogether) && found->first == first && found->second == second ? found->whole : 0;
}

}  // namespace

uint8_t classes_of(char32_t character) { return value_in(kClasses, character); }

Result<std::u32string> from_utf8(std::string_view bytes) {
  std::u32string text;
  text.reserve(bytes.size());
  for (size_t at = 0, taken = 0; at < bytes.size(); at += taken) {
    char32_t character = 0;
    if (!read_character(bytes.substr(at), character, taken)) {
      return Status(StatusCode::kBadInput, "the text is not UTF-8; convert it first");
    }
    text += character;
  }
  return text;
}

void append_utf8(std::string& bytes, char32_t c) {
  const auto tail = [&](int shift) { bytes += static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    bytes += static_cast<char>(c);
  } else if (c < 0x800) {
    bytes += static_cast<char>(0xC0 | (c >> 6));
    tail(0);
  } else if (c < 0x10000) {
    bytes += static_cast<char>(0xE0 | (c >> 12));
    tail(6), tail(0);
  } else {
    bytes += static_cast<char>(0xF0 | (c >> 18));
    tail(12), tail(6), tail(0);
  }
}

std::string to_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (const char32_t character : text) append_utf8(bytes, character);
  return bytes;
}

std::string repaired_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t at = 0, taken = 0; at < bytes.size(); at += taken) {
    char32_t character = 0;
    append_utf8(text, read_character(bytes.substr(at), character, taken) ? character : U'\uFFFD');
  }
  return text;
}

std::u32string nfc(std::u32string_view text) {
  std::u32string apart;
  apart.reserve(text.size());
  for (const char32_t character : text) append_apart(apart, character);
  // Marks that follow each other go into the order of their combining classes.
  const auto is_mark = [](char32_t c) { return value_in(kCombining, c) != 0; };
  for (auto begin = apart.begin(); begin != apart.end();) {
    begin = std::find_if(begin, apart.end(), is_mark);
    const auto end = std::find_if_not(begin, apart.end(), is_mark);
    std::stable_sort(begin, end,
                     [](char32_t a, char32_t b) { return value_in(kCombining, a) < value_in(kCombining, b); });
    begin = end;
  }
  // A character joins the last starter unless one between them, of its class or a higher one, blocks it.
  std::u32string whole;
  whole.reserve(apart.size());
  size_t starter = std::u32string::npos;
  for (const char32_t character : apart) {
    const uint8_t mark = value_in(kCombining, character);
    const bool adjacent = starter != std::u32string::npos && starter + 1 == whole.size();
    if (starter != std::u32string::npos && (adjacent || (mark != 0 && value_in(kCombining, whole.back()) < mark))) {
      if (const char32_t joined = composed(whole[starter], character)) {
        whole[starter] = joined;
        continue;
      }
    }
    if (mark == 0) starter = whole.size();
    whole += character;
  }
  return whole;
}

}  // namespace flashneuron
