// The rules that a tokenizer.json names by type, each made into a function. A type or an option that is not known is a
// defect of `field` (kUnsupported): a rule that is passed over gives other tokens without a word.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "package/json_field.h"

namespace flashneuron {

// A part of a text, and whether the text begins with it.
struct Piece {
  std::u32string text;
  bool at_start = false;
};

using Normalizer = std::function<std::u32string(std::u32string)>;
using PreTokenizer = std::function<void(std::vector<Piece>&)>;        // makes more pieces of each
using TokenDecoder = std::function<void(std::vector<std::string>&)>;  // tokens as spelt in the vocabulary to text

// NFC, Prepend, Replace, Sequence.
Normalizer make_normalizer(const JsonField& field);
// ByteLevel, Split, Digits, Punctuation, Metaspace, Sequence.
PreTokenizer make_pre_tokenizer(const JsonField& field);
// ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, Sequence.
TokenDecoder make_decoder(const JsonField& field);

// The reversible alphabet of byte-level vocabularies (GPT-2): each byte as one printable character.
char32_t character_of_byte(uint8_t byte);

}  // namespace flashneuron
