#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "tokenizer/unicode.h"

namespace flashneuron {
namespace {

bool is_space(char32_t character) { return (classes_of(character) & kSpace) != 0; }

}  // namespace

AddedTokens::AddedTokens(const JsonField& field, const Normalizer& normalizer) {
  for (const JsonField& item : field.items()) {
    const std::string content = item["content"].text();
    if (item["single_word"].flag())
      item["single_word"].fail("is not supported by this runtime", StatusCode::kUnsupported);
    const auto id = static_cast<int32_t>(item["id"].number32(0, INT32_MAX));
    const bool normalized = item["normalized"].flag();
    Token token{{}, id, item["lstrip"].flag(), item["rstrip"].flag()};
    if (item["special"].flag()) special_.insert(content);
    tokens_[id] = content;
    if (Result<std::u32string> text = from_utf8(content); text.ok()) token.spelt = std::move(text).value();
    if (normalized && normalizer) token.spelt = normalizer(token.spelt);
    if (!token.spelt.empty()) index_[normalized][token.spelt[0]].push_back(std::move(token));
  }
  for (Index& index : index_) {
    for (auto& [first, tokens] : index) {
      std::stable_sort(tokens.begin(), tokens.end(),
                       [](const Token& a, const Token& b) { return a.spelt.size() > b.spelt.size(); });
    }
  }
}

std::vector<AddedTokens::Part> AddedTokens::find(std::u32string_view text, bool normalized) const {
  std::vector<Part> parts;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const auto bucket = index_[normalized].find(text[at]);
    const Token* found = nullptr;
    if (bucket != index_[normalized].end()) {
      const auto token = std::find_if(bucket->second.begin(), bucket->second.end(), [&](const Token& candidate) {
        return text.substr(at, candidate.spelt.size()) == candidate.spelt;
      });
      if (token != bucket->second.end()) found = &*token;
    }
    if (found == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + found->spelt.size();
    while (found->strip_left && begin > done && is_space(text[begin - 1])) --begin;
    while (found->strip_right && end < text.size() && is_space(text[end])) ++end;
    if (begin > done) parts.push_back({std::nullopt, done, begin});
    parts.push_back({found->id, begin, end});
    done = at = end;
  }
  if (done < text.size()) parts.push_back({std::nullopt, done, text.size()});
  return parts;
}

const std::string* AddedTokens::token_of(int32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second;
}

}  // namespace flashneuron
