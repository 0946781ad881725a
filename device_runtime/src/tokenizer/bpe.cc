#include "tokenizer/bpe.h"

#include <array>
#include <cstdio>
#include <queue>
#include <utility>

#include "package/json_field.h"
#include "tokenizer/unicode.h"

namespace flashneuron {
namespace {

constexpr int64_t kMostTokens = 1 << 24;

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// The two tokens of a merge: ["a", "b"], or "a b" in older files.
std::optional<std::pair<std::string, std::string>> merge_in(const nlohmann::json& item) {
  if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
    return std::pair(item[0].get<std::string>(), item[1].get<std::string>());
  }
  if (!item.is_string()) return std::nullopt;
  const auto text = item.get<std::string>();
  const size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) return std::nullopt;
  return std::pair(text.substr(0, space), text.substr(space + 1));
}

Status corrupt(const std::string& problem) { return {StatusCode::kCorrupt, "model." + problem}; }

}  // namespace

Result<Bpe> Bpe::parse(const nlohmann::json& model) {
  Status defect;
  const JsonField field(model, defect);
  const auto flag = [&](const char* name) {
    const auto found = field.find(name);
    return found && found->flag();
  };
  field["type"].one_of({"BPE"});
  Bpe bpe;
  bpe.fuse_unknown_ = flag("fuse_unk"), bpe.byte_fallback_ = flag("byte_fallback");
  bpe.ignore_merges_ = flag("ignore_merges");
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (const auto found = field.find(name); found && !found->text().empty()) {
      found->fail("is not supported by this runtime", StatusCode::kUnsupported);
    }
  }
  if (const auto dropout = field.find("dropout"); dropout && model["dropout"] != 0.0) {
    dropout->fail("is not supported by this runtime", StatusCode::kUnsupported);
  }
  const std::optional<JsonField> unknown = field.find("unk_token");
  const std::string unknown_token = unknown ? unknown->text() : "";
  field["vocab"], field["merges"];
  FN_RETURN_IF_ERROR(defect);

  const nlohmann::json &vocabulary = model["vocab"], &merges = model["merges"];
  if (!vocabulary.is_object() || !merges.is_array()) return corrupt("vocab or merges is of another kind");
  for (const auto& [token, id] : vocabulary.items()) {
    if (!id.is_number_unsigned() || id.get<int64_t>() >= kMostTokens) {
      return corrupt("vocab has no proper id for " + in_quotes(token));
    }
    const auto number = id.get<int32_t>();
    if (static_cast<size_t>(number) >= bpe.tokens_.size()) bpe.tokens_.resize(static_cast<size_t>(number) + 1);
    bpe.tokens_[static_cast<size_t>(number)] = token;
    bpe.ids_[token] = number;
  }
  uint32_t rank = 0;
  for (const nlohmann::json& item : merges) {
    const auto merge = merge_in(item);
    if (!merge) return corrupt("merges[" + std::to_string(rank) + "] is not two tokens");
    const auto left = bpe.id_of(merge->first), right = bpe.id_of(merge->second);
    const auto whole = bpe.id_of(merge->first + merge->second);
    if (!left || !right || !whole) return corrupt("merges[" + std::to_string(rank) + "] is not in the vocabulary");
    bpe.merges_[pair_key(*left, *right)] = {rank++, *whole};
  }
  if (unknown) {
    bpe.unknown_ = bpe.id_of(unknown_token);
    if (!bpe.unknown_) return corrupt("unk_token is not in the vocabulary");
  }
  return bpe;
}

std::optional<int32_t> Bpe::id_of(const std::string& token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

const std::string* Bpe::token_of(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= tokens_.size()) return nullptr;
  const std::string& token = tokens_[static_cast<size_t>(id)];
  return token.empty() ? nullptr : &token;  // ids may have gaps
}

const Bpe::Merge* Bpe::merge_of(int32_t left, int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::vector<int32_t> Bpe::characters(std::u32string_view word) const {
  std::vector<int32_t> ids;
  bool after_unknown = false;
  for (const char32_t character : word) {
    std::string bytes;
    append_utf8(bytes, character);
    if (const auto id = id_of(bytes)) {
      ids.push_back(*id);
      after_unknown = false;
      continue;
    }
    if (byte_fallback_) {
      std::vector<int32_t> fallback;
      for (const char byte : bytes) {
        std::array<char, 7> name{};
        std::snprintf(name.data(), name.size(), "<0x%02X>", static_cast<unsigned>(static_cast<uint8_t>(byte)));
        if (const auto id = id_of(name.data())) fallback.push_back(*id);
      }
      if (fallback.size() == bytes.size()) {
        ids.insert(ids.end(), fallback.begin(), fallback.end());
        continue;
      }
    }
    if (unknown_ && !(fuse_unknown_ && after_unknown)) ids.push_back(*unknown_);
    after_unknown = unknown_.has_value();
  }
  return ids;
}

void Bpe::encode(std::u32string_view word, std::vector<int32_t>& ids) const {
  if (ignore_merges_) {
    if (const auto whole = id_of(to_utf8(word))) {
      ids.push_back(*whole);
      return;
    }
  }
  std::vector<int32_t> symbols = characters(word);
  // A list through the symbols that are left; the heap may hold merges of pairs that are gone by then.
  constexpr int32_t kGone = -1;
  const size_t count = symbols.size();
  std::vector<size_t> next(count), previous(count);
  for (size_t i = 0; i < count; ++i) next[i] = i + 1, previous[i] = i - 1;  // before the first one: beyond `count`
  using Candidate = std::pair<uint32_t, size_t>;                            // rank, place of the left symbol
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto consider = [&](size_t left) {
    if (left >= count || next[left] >= count) return;
    if (const Merge* merge = merge_of(symbols[left], symbols[next[left]])) heap.emplace(merge->rank, left);
  };
  for (size_t i = 0; i < count; ++i) consider(i);
  while (!heap.empty()) {
    const auto [rank, left] = heap.top();
    heap.pop();
    if (symbols[left] == kGone || next[left] >= count) continue;
    const size_t right = next[left];
    const Merge* merge = merge_of(symbols[left], symbols[right]);
    if (merge == nullptr || merge->rank != rank) continue;
    symbols[left] = merge->id;
    symbols[right] = kGone;
    next[left] = next[right];
    if (next[left] < count) previous[next[left]] = left;
    consider(previous[left]);
    consider(left);
  }
  for (const int32_t id : symbols) {
    if (id != kGone) ids.push_back(id);
  }
}

}  // namespace flashneuron
