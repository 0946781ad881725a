#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_map>

#include "tokenizer/pattern.h"
#include "tokenizer/rules.h"
#include "tokenizer/unicode.h"

namespace flashneuron {
namespace {

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  if (what.empty()) return;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

// A token that is not of the alphabet, an added one for instance, stands for itself.
std::string bytes_of(const std::string& token) {
  static const auto kBytes = [] {
    std::unordered_map<char32_t, char> bytes;
    for (int byte = 0; byte < 256; ++byte) {
      bytes[character_of_byte(static_cast<uint8_t>(byte))] = static_cast<char>(byte);
    }
    return bytes;
  }();
  const Result<std::u32string> text = from_utf8(token);
  if (!text.ok()) return token;
  std::string bytes;
  for (const char32_t character : text.value()) {
    const auto found = kBytes.find(character);
    if (found == kBytes.end()) return token;
    bytes += found->second;
  }
  return bytes;
}

void fuse(std::vector<std::string>& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens = {std::move(all)};
}

std::optional<char> named_byte(const std::string& token) {  // <0x0A>
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  if (error != std::errc{} || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(byte);
}

// Bytes that follow each other are text if all of them together are, else an unknown character each.
void join_bytes(std::vector<std::string>& tokens) {
  std::vector<std::string> joined;
  for (size_t i = 0; i < tokens.size();) {
    std::string bytes;
    for (; i < tokens.size(); ++i) {
      const std::optional<char> byte = named_byte(tokens[i]);
      if (!byte) break;
      bytes += *byte;
    }
    if (bytes.empty()) {
      joined.push_back(tokens[i++]);
    } else if (from_utf8(bytes).ok()) {
      joined.push_back(bytes);
    } else {
      joined.insert(joined.end(), bytes.size(), "\uFFFD");
    }
  }
  tokens = std::move(joined);
}

void strip(std::string& token, const std::string& what, uint64_t at_start, uint64_t at_end) {
  for (; at_start > 0 && token.starts_with(what); --at_start) token.erase(0, what.size());
  for (; at_end > 0 && token.ends_with(what); --at_end) token.erase(token.size() - what.size());
}

TokenDecoder metaspace(const JsonField& field) {
  const std::string mark = field["replacement"].text();
  const auto scheme = field.find("prepend_scheme");
  const auto flag = field.find("add_prefix_space");
  const bool prepends = scheme ? scheme->one_of({"always", "first", "never"}) != "never" : !flag || flag->flag();
  return [=](std::vector<std::string>& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], mark, i == 0 && prepends ? "" : " ");
  };
}

}  // namespace

TokenDecoder make_decoder(const JsonField& field) {
  const std::string type =
      field["type"].one_of({"ByteLevel", "ByteFallback", "Fuse", "Strip", "Replace", "Metaspace", "Sequence"});
  if (type == "Metaspace") return metaspace(field);
  if (type == "ByteLevel") {
    return [](std::vector<std::string>& tokens) {
      for (std::string& token : tokens) token = bytes_of(token);
      fuse(tokens);
      tokens[0] = repaired_utf8(tokens[0]);
    };
  }
  if (type == "ByteFallback") return join_bytes;
  if (type == "Fuse") return fuse;
  if (type == "Strip") {
    const std::string what = field["content"].text();
    if (field.sound() && what.empty()) field["content"].fail("is empty");
    const uint64_t start = field["start"].number(0, 1 << 20), stop = field["stop"].number(0, 1 << 20);
    return [=](std::vector<std::string>& tokens) {
      for (std::string& token : tokens) strip(token, what, start, stop);
    };
  }
  if (type == "Replace") {
    const std::string what = field["pattern"]["String"].text(), with = field["content"].text();
    return [=](std::vector<std::string>& tokens) {
      for (std::string& token : tokens) replace_all(token, what, with);
    };
  }
  std::vector<TokenDecoder> steps;
  if (type == "Sequence") {
    for (const JsonField& item : field["decoders"].items()) steps.push_back(make_decoder(item));
  }
  return [=](std::vector<std::string>& tokens) {
    for (const TokenDecoder& step : steps) step(tokens);
  };
}

}  // namespace flashneuron
