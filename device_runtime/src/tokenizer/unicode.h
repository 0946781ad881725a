// Unicode as the tokenisers of model packages need it: UTF-8, classes of characters, NFC.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "flashneuron/status.h"

namespace flashneuron {

// Bits. kNumber is \p{N} of regular expressions, kNumeric what splits digits: the two libraries behind the reference
// know different versions of Unicode.
enum CharClass : uint8_t { kLetter = 1, kNumber = 2, kSpace = 4, kNumeric = 8, kPunctuation = 16 };

// Of one code point: the sum of its CharClass bits.
uint8_t classes_of(char32_t character);

// Error: kBadInput for bytes that are not UTF-8.
Result<std::u32string> from_utf8(std::string_view bytes);
std::string to_utf8(std::u32string_view text);
void append_utf8(std::string& bytes, char32_t character);
// The bytes with U+FFFD for each part that cannot be of a character (Unicode's "maximal subparts").
std::string repaired_utf8(std::string_view bytes);

// Normalisation form C.
std::u32string nfc(std::u32string_view text);

}  // namespace flashneuron
