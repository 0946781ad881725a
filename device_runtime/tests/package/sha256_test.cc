#include "package/sha256.h"

#include <gtest/gtest.h>

#include "scratch_package.h"

namespace flashneuron {
namespace {

TEST(Sha256, GivesTheVectorsOfFips180) {
  const testing::TempFolder folder;
  const std::pair<std::string, const char*> vectors[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {std::string(1000000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};
  for (const auto& [text, digest] : vectors) {
    testing::write_text(folder.path() / "file", text);
    const Result<std::string> found = sha256_file((folder.path() / "file").string());
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value(), digest) << text.size();
  }
}

TEST(Sha256, FilesLongerThanOneReadAreHashedWhole) {
  const testing::TempFolder folder;
  const std::string text(3 << 20, 'x');
  const auto hash = [&](const std::string& content) {
    testing::write_text(folder.path() / "file", content);
    return std::move(sha256_file((folder.path() / "file").string())).value();
  };
  EXPECT_NE(hash(text), hash(text + "x"));
  EXPECT_EQ(hash(text), hash(text));
}

TEST(Sha256, AgreesWithTheManifestThatPythonWrote) {
  const testing::ScratchPackage package;
  const nlohmann::json manifest = package.manifest();
  for (const auto& entry : manifest["files"]) {
    const Result<std::string> found = sha256_file(package.file(entry["path"]).string());
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value(), entry["sha256"]) << entry["path"];
  }
}

TEST(Sha256, MissingFilesAndFoldersAreErrors) {
  const testing::TempFolder folder;
  EXPECT_EQ(sha256_file((folder.path() / "none").string()).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(sha256_file(folder.path().string()).status().code(), StatusCode::kIo);
}

}  // namespace
}  // namespace flashneuron
