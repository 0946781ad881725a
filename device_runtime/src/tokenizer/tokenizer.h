// Text to token ids and back, as a package's tokenizer.json says: for devices, where no host does it.
//
// Gives what Hugging Face's `tokenizers` gives without special tokens. It knows byte-pair encoding with the rules in
// rules.h and pattern.h, which all supported families use, and refuses by name what it does not know.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flashneuron/status.h"

namespace flashneuron {

struct TokenizerParts;

// Immutable: any number of threads may use it.
class Tokenizer {
 public:
  // Errors: kCorrupt, kUnsupported.
  static Result<Tokenizer> parse(std::string_view json);
  // A file. Errors: those of parse(), kNotFound, kIo.
  static Result<Tokenizer> open(const std::string& path);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Ids of the text alone. Error: kBadInput for what is not UTF-8.
  Result<std::vector<int32_t>> encode(std::string_view text) const;
  // Text of ids, special tokens and unknown ids left out; U+FFFD for bytes that are no character.
  std::string decode(std::span<const int32_t> ids) const;

 private:
  explicit Tokenizer(std::unique_ptr<TokenizerParts> parts);
  std::unique_ptr<TokenizerParts> parts_;
};

}  // namespace flashneuron
