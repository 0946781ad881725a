#include "tokenizer/tokenizer.h"

#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "package/file_io.h"
#include "package/json_field.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/rules.h"
#include "tokenizer/unicode.h"

namespace flashneuron {

using nlohmann::json;

struct TokenizerParts {
  Bpe bpe;
  AddedTokens added;
  Normalizer normalizer;  // these three may be null
  PreTokenizer pre_tokenizer;
  TokenDecoder decoder;
};

namespace {

constexpr uint64_t kMostBytes = 256u << 20;

Status named(const Status& status) {
  return status.ok() ? status : Status(status.code(), "the package's tokenizer: " + status.message());
}

// Null is as good as absent in these files.
void drop_nulls(json& value) {
  if (value.is_object()) {
    for (auto member = value.begin(); member != value.end();) {
      member = member->is_null() ? value.erase(member) : std::next(member);
    }
  }
  if (value.is_structured()) {
    for (json& inner : value) drop_nulls(inner);
  }
}

}  // namespace

Result<Tokenizer> Tokenizer::parse(std::string_view text) {
  json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) return named({StatusCode::kCorrupt, "is not JSON; export or push the package again"});
  drop_nulls(document);
  Status defect;
  const JsonField root(document, defect);
  root["model"], root["added_tokens"];
  FN_RETURN_IF_ERROR(named(defect));
  Result<Bpe> bpe = Bpe::parse(document["model"]);
  FN_RETURN_IF_ERROR(named(bpe.status()));
  const auto make = [&](const char* member, auto maker) -> decltype(maker(root)) {
    const std::optional<JsonField> field = root.find(member);
    return field ? maker(*field) : nullptr;
  };
  Normalizer normalizer = make("normalizer", make_normalizer);
  PreTokenizer pre_tokenizer = make("pre_tokenizer", make_pre_tokenizer);
  TokenDecoder decoder = make("decoder", make_decoder);
  FN_RETURN_IF_ERROR(named(defect));
  AddedTokens added(root["added_tokens"], normalizer);
  FN_RETURN_IF_ERROR(named(defect));
  return Tokenizer(std::make_unique<TokenizerParts>(TokenizerParts{
      std::move(bpe).value(), std::move(added), std::move(normalizer), std::move(pre_tokenizer), std::move(decoder)}));
}

Result<Tokenizer> Tokenizer::open(const std::string& path) {
  uint64_t bytes = 0;
  FN_ASSIGN_OR_RETURN(const std::vector<std::byte> content, read_head(path, kMostBytes, bytes));
  return parse({reinterpret_cast<const char*>(content.data()), content.size()});
}

Tokenizer::Tokenizer(std::unique_ptr<TokenizerParts> parts) : parts_(std::move(parts)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text) const {
  FN_ASSIGN_OR_RETURN(const std::u32string characters, from_utf8(text));
  std::vector<int32_t> ids;
  for (const AddedTokens::Part& outer : parts_->added.find(characters, false)) {
    if (outer.id) {
      ids.push_back(*outer.id);
      continue;
    }
    std::u32string normal = characters.substr(outer.begin, outer.end - outer.begin);
    if (parts_->normalizer) normal = parts_->normalizer(std::move(normal));
    for (const AddedTokens::Part& part : parts_->added.find(normal, true)) {
      if (part.id) {
        ids.push_back(*part.id);
        continue;
      }
      std::vector<Piece> pieces = {
          {normal.substr(part.begin, part.end - part.begin), outer.begin == 0 && part.begin == 0}};
      if (parts_->pre_tokenizer) parts_->pre_tokenizer(pieces);
      for (const Piece& piece : pieces) parts_->bpe.encode(piece.text, ids);
    }
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids) {
    const std::string* token = parts_->added.token_of(id);
    if (token == nullptr) token = parts_->bpe.token_of(id);
    if (token != nullptr && !parts_->added.is_special(*token)) tokens.push_back(*token);
  }
  if (parts_->decoder) {
    if (!tokens.empty()) parts_->decoder(tokens);
    std::string text;
    for (const std::string& token : tokens) text += token;
    return text;
  }
  std::string text;  // words that nothing says how to join
  for (const std::string& token : tokens) text += (text.empty() ? "" : " ") + token;
  return text;
}

}  // namespace flashneuron
