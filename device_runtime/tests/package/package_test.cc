#include "package/package.h"

#include <gtest/gtest.h>

#include "package/package_check.h"
#include "scratch_package.h"

namespace flashneuron {
namespace {

using testing::open_all;
using testing::ScratchPackage;

TEST(Package, FindsItsFilesInItsFolder) {
  const ScratchPackage scratch;
  const Result<Package> package = Package::open(scratch.folder(), std::nullopt);
  ASSERT_TRUE(package.ok()) << package.status().message();
  EXPECT_EQ(package.value().path_of("embedding.bin"), scratch.folder() + "/embedding.bin");
  EXPECT_EQ(package.value().bytes_of("embedding.bin"), std::filesystem::file_size(scratch.file("embedding.bin")));
  EXPECT_EQ(package.value().role_bytes("ffn_bias"), 2u * 4 * (96 + 32));
  EXPECT_EQ(package.value().role_bytes("golden"), 0u);
  const auto content = package.value().read("tokenizer.json");
  ASSERT_TRUE(content.ok());
  EXPECT_EQ(content.value(), testing::to_bytes(testing::read_text(scratch.file("tokenizer.json"))));
}

TEST(Package, FindsItsFilesInAStoreByTheirSha256) {
  const ScratchPackage scratch;
  const testing::TempFolder store;
  const nlohmann::json manifest = scratch.manifest();
  for (const auto& entry : manifest["files"]) {
    std::filesystem::copy_file(scratch.file(entry["path"]), store.path() / entry["sha256"].get<std::string>(),
                               std::filesystem::copy_options::skip_existing);
    std::filesystem::remove(scratch.file(entry["path"]));
  }
  const Result<Package> package = Package::open(scratch.folder(), store.path().string());
  ASSERT_TRUE(package.ok()) << package.status().message();
  EXPECT_TRUE(check_package(package.value()).ok());
  EXPECT_EQ(open_all(scratch.folder()).code(), StatusCode::kCorrupt);  // without the store
}

TEST(Package, IsNotAFolderWithoutAManifest) {
  const testing::TempFolder empty;
  const Status status = Package::open(empty.path().string(), std::nullopt).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find(empty.path().string()), std::string::npos);
}

TEST(Package, NamesTheFileOfAnotherSize) {
  const ScratchPackage scratch;
  scratch.edit("tokenizer.json", {{"kind", "append"}, {"hex", "20"}});
  const Status status = Package::open(scratch.folder(), std::nullopt).status();
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_NE(status.message().find("tokenizer.json"), std::string::npos) << status.message();
}

TEST(Package, AFileThatShrinksAfterOpeningIsAnError) {
  const ScratchPackage scratch;
  const Result<Package> package = Package::open(scratch.folder(), std::nullopt);
  ASSERT_TRUE(package.ok());
  scratch.edit("tokenizer.json", {{"kind", "truncate"}, {"bytes", 1}});
  EXPECT_EQ(package.value().read("tokenizer.json").status().code(), StatusCode::kIo);
}

// Two sound files that changed places: only the headers tell.
TEST(CheckPackage, FindsFilesInEachOthersPlaces) {
  const std::pair<const char*, const char*> pairs[] = {
      {"ffn/split-none/layer_000.up.0000.ffn", "ffn/split-none/layer_000.down.0000.ffn"},
      {"ffn/bundled-none/layer_000.bundle.0000.ffn", "ffn/bundled-none/layer_001.bundle.0000.ffn"},
      {"predictor/layer_000.pred", "predictor/layer_001.pred"}};
  for (const auto& [one, other] : pairs) {
    const ScratchPackage scratch;
    const std::string text = testing::read_text(scratch.file(one));
    testing::write_text(scratch.file(one), testing::read_text(scratch.file(other)));
    testing::write_text(scratch.file(other), text);
    const Result<Package> package = Package::open(scratch.folder(), std::nullopt);
    ASSERT_TRUE(package.ok()) << package.status().message();
    const Status status = check_package(package.value());
    EXPECT_EQ(status.code(), StatusCode::kCorrupt) << one;
    EXPECT_NE(status.message().find(one), std::string::npos) << status.message();
  }
}

TEST(CheckPackage, FindsAPredictorOfAnotherRankThanTheManifests) {
  const ScratchPackage scratch;
  scratch.edit("manifest.json", {{"kind", "json"}, {"pointer", "/predictors/0/layers/1/rank"}, {"value", 5}});
  const Status status = open_all(scratch.folder());
  EXPECT_EQ(status.code(), StatusCode::kCorrupt);
  EXPECT_NE(status.message().find("rank"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace flashneuron
