// Byte-pair encoding of one word: its characters, of which the pair with the best rank is merged until none is left.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "flashneuron/status.h"

namespace flashneuron {

class Bpe {
 public:
  // `model` of a tokenizer.json, without members that are null. Errors: kCorrupt, kUnsupported (dropout, or marks of
  // where a word begins or ends).
  static Result<Bpe> parse(const nlohmann::json& model);

  // Appends the ids of a word. A character that the vocabulary lacks becomes its bytes, the unknown token, or nothing,
  // as the model says. O(n log n).
  void encode(std::u32string_view word, std::vector<int32_t>& ids) const;
  std::optional<int32_t> id_of(const std::string& token) const;
  const std::string* token_of(int32_t id) const;  // null: no such id

 private:
  struct Merge {
    uint32_t rank;
    int32_t id;
  };
  std::vector<int32_t> characters(std::u32string_view word) const;
  const Merge* merge_of(int32_t left, int32_t right) const;

  std::unordered_map<std::string, int32_t> ids_;
  std::vector<std::string> tokens_;
  std::unordered_map<uint64_t, Merge> merges_;  // by both ids
  std::optional<int32_t> unknown_;
  bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false;
};

}  // namespace flashneuron
