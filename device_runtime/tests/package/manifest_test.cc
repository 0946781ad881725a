#include "package/manifest.h"

#include <gtest/gtest.h>

#include <random>

#include "scratch_package.h"

namespace flashneuron {
namespace {

using nlohmann::json;

json tiny() { return json::parse(testing::read_text(FN_TEST_DATA "/tiny_package/manifest.json")); }

Status parse(const json& manifest) { return parse_manifest(manifest.dump()).status(); }

// The tiny package's manifest with one value replaced.
json with(const std::string& pointer, const json& value) {
  json manifest = tiny();
  manifest[json::json_pointer(pointer)] = value;
  return manifest;
}

TEST(Manifest, HoldsTheFactsOfThePackage) {
  const Result<Manifest> result = parse_manifest(tiny().dump());
  ASSERT_TRUE(result.ok()) << result.status().message();
  const Manifest& manifest = result.value();
  EXPECT_EQ(manifest.model.family, "opt");
  EXPECT_EQ(manifest.model.layers, 2u);
  EXPECT_EQ(manifest.model.hidden_size, 32u);
  EXPECT_EQ(manifest.model.ffn_size, 96u);
  EXPECT_EQ(manifest.model.kv_size(), manifest.model.kv_heads * manifest.model.head_size);
  EXPECT_EQ(manifest.ffn.dtype, DType::kFp16);
  ASSERT_EQ(manifest.ffn.variants.size(), 3u);
  EXPECT_EQ(manifest.ffn.variants[0].order, Order::kNone);
  EXPECT_TRUE(manifest.ffn.variants[0].places.empty());
  EXPECT_EQ(manifest.ffn.variants[2].order, Order::kCoactivation);
  EXPECT_EQ(manifest.ffn.variants[2].places.size(), 2u);
  EXPECT_EQ(manifest.ffn.frequency.size(), 2u);
  EXPECT_EQ(manifest.ffn.variants[0].layout, Layout::kBundled);
  EXPECT_EQ(manifest.ffn.variants[0].layers[1].bundle.size(), 2u);
  EXPECT_EQ(manifest.ffn.variants[1].layers[0].down.size(), 2u);
  EXPECT_EQ(manifest.predictors.at(0).layers.at(1).rank, 4u);
  EXPECT_EQ(manifest.files.at("embedding.bin").role, "embedding");
}

TEST(Manifest, UnknownKeysAreIgnored) {
  json manifest = tiny();
  manifest["colour"] = "blue";
  manifest["model"]["mood"] = {{"today", 1}};
  manifest["files"][0]["note"] = nullptr;
  EXPECT_TRUE(parse(manifest).ok()) << parse(manifest).message();
}

struct Defect {
  std::string pointer;
  json value;
  StatusCode code;
  std::string says;  // a part of the message: the key
};

class ManifestDefect : public ::testing::TestWithParam<Defect> {};

TEST_P(ManifestDefect, NamesTheKey) {
  const Status status = parse(with(GetParam().pointer, GetParam().value));
  EXPECT_EQ(status.code(), GetParam().code) << status.message();
  EXPECT_NE(status.message().find(GetParam().says), std::string::npos) << status.message();
}

INSTANTIATE_TEST_SUITE_P(
    Each, ManifestDefect,
    ::testing::Values(
        Defect{"/format_version", 0, StatusCode::kCorrupt, "format_version"},
        Defect{"/format_version", "1", StatusCode::kCorrupt, "format_version"},
        Defect{"/format_version", json(UINT64_MAX), StatusCode::kNewerFormat, "use a newer flashneuron"},
        Defect{"/name", "", StatusCode::kCorrupt, "name"}, Defect{"/synthetic", 1, StatusCode::kCorrupt, "synthetic"},
        Defect{"/model", json::array(), StatusCode::kCorrupt, "model is not an object"},
        Defect{"/model/layers", -1, StatusCode::kCorrupt, "model.layers is -1"},
        Defect{"/model/layers", 2.0, StatusCode::kCorrupt, "model.layers"},
        Defect{"/model/layers", 1025, StatusCode::kCorrupt, "model.layers"},
        Defect{"/model/layers", 3, StatusCode::kCorrupt, "items for 3 layers"},
        Defect{"/model/hidden_size", 1 << 24, StatusCode::kCorrupt, "model.hidden_size"},
        Defect{"/model/heads", 3, StatusCode::kCorrupt, "model.heads"},
        Defect{"/model/gated", "no", StatusCode::kCorrupt, "model.gated"},
        Defect{"/model/family", "evil\n\x1b[31m", StatusCode::kUnsupported, "supports: opt"},
        Defect{"/model/eos_token_ids/0", 1 << 20, StatusCode::kCorrupt, "model.eos_token_ids[0]"},
        Defect{"/model/prompt_prefix_ids", 2, StatusCode::kCorrupt, "model.prompt_prefix_ids"},
        Defect{"/embedding/dtype", "fp8", StatusCode::kUnsupported, "embedding.dtype"},
        Defect{"/embedding/position_rows", 1, StatusCode::kCorrupt, "embedding.position_rows"},
        Defect{"/embedding/file", "tokenizer.json", StatusCode::kCorrupt, "embedding.file"},
        Defect{"/attention", json::array(), StatusCode::kCorrupt, "attention"},
        Defect{"/attention/0/max_chunk", 0, StatusCode::kCorrupt, "attention[0].max_chunk"},
        Defect{"/attention/0/head", "nowhere", StatusCode::kCorrupt, "attention[0].head"},
        Defect{"/ffn/bias/1", "ffn/layer_000.bias", StatusCode::kCorrupt, "used twice"},
        Defect{"/ffn/variants", json::array(), StatusCode::kCorrupt, "ffn.variants"},
        Defect{"/ffn/variants/0/neurons_per_shard", 96, StatusCode::kCorrupt, "bundle has 2 items for 1 shards"},
        Defect{"/ffn/variants/0/order", "random", StatusCode::kUnsupported, "ffn.variants[0].order"},
        Defect{"/ffn/variants/1/layers/0/up", json::array(), StatusCode::kCorrupt, "ffn.variants[1].layers[0].up"},
        Defect{"/predictors/0/kind", "oracle", StatusCode::kUnsupported, "predictors[0].kind"},
        Defect{"/predictors/0/layers/1/rank", 65537, StatusCode::kCorrupt, "predictors[0].layers[1].rank"},
        Defect{"/predictors/0/layers/1/density", 1.5, StatusCode::kCorrupt, "predictors[0].layers[1].density"},
        Defect{"/files/0/role", "toy", StatusCode::kCorrupt, "files[0].role"},
        Defect{"/files/0/bytes", -4, StatusCode::kCorrupt, "files[0].bytes"},
        Defect{"/files/0/sha256", std::string(64, 'A'), StatusCode::kCorrupt, "files[0].sha256"}));

TEST(Manifest, PathsStayInsideThePackage) {
  for (const std::string path : {"", "/etc/passwd", "a//b", "a/", "./a", "a/../b", "..", ".", "a b", "a\\b", "a\n",
                                 "manifest.json", "\xc3\xa9"}) {
    EXPECT_EQ(parse(with("/files/0/path", path)).code(), StatusCode::kCorrupt) << path;
  }
  EXPECT_EQ(parse(with("/files/0/path", std::string(513, 'a'))).code(), StatusCode::kCorrupt);
}

TEST(Manifest, TextThatIsNoManifestIsCorrupt) {
  for (const std::string text : {"", "{", "null", "[]", "\"flashneuron-package\"", "{\"format\": 1}",
                                 "{\"format\": \"\xff\"}", "{\"format_version\": 1e999}"}) {
    EXPECT_EQ(parse_manifest(text).status().code(), StatusCode::kCorrupt) << text;
  }
  EXPECT_EQ(parse_manifest(std::string(100000, '[')).status().code(), StatusCode::kCorrupt);
  EXPECT_EQ(parse_manifest(std::string((4 << 20) + 1, ' ')).status().code(), StatusCode::kCorrupt);
}

// Every value of the manifest, replaced by values of other types and by nothing, is refused: strictness leaves no gap.
void for_each_pointer(const json& value, const std::string& pointer, std::vector<std::string>& pointers) {
  if (!pointer.empty()) pointers.push_back(pointer);
  if (!value.is_structured()) return;
  for (const auto& [key, item] : value.items()) for_each_pointer(item, pointer + "/" + key, pointers);
}

TEST(Manifest, NoValueMayBeOfAnotherType) {
  std::vector<std::string> pointers;
  for_each_pointer(tiny(), "", pointers);
  ASSERT_GT(pointers.size(), 100u);
  for (const std::string& pointer : pointers) {
    for (const json& value : {json(nullptr), json(-1), json::object(), json::array({json::array()})}) {
      EXPECT_FALSE(parse(with(pointer, value)).ok()) << pointer << " = " << value;
    }
  }
}

TEST(Manifest, AnyChangedByteParsesOrIsRefusedInOneLine) {
  const std::string text = tiny().dump();
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string changed = text;
    changed[random() % changed.size()] = static_cast<char>(random() % 256);
    const Status status = parse_manifest(changed).status();
    EXPECT_EQ(status.message().find('\n'), std::string::npos) << status.message();
  }
}

}  // namespace
}  // namespace flashneuron
