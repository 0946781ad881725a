#include "package/mapped_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/temp_folder.h"

namespace flashneuron {
namespace {

TEST(MappedFile, HasTheFilesBytesAlsoAfterItsPagesWereDropped) {
  const testing::TempFolder folder;
  const std::string path = folder.path() / "file";
  std::string content(3 * 16384 + 5, 'a');
  for (size_t i = 0; i < content.size(); i += 1000) content[i] = static_cast<char>('b' + i / 1000 % 20);
  std::ofstream(path, std::ios::binary) << content;
  const auto file = MappedFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  const auto same = [&] {
    const auto bytes = file.value()->bytes();
    return bytes.size() == content.size() && std::equal(bytes.begin(), bytes.end(), content.begin(),
                                                        [](auto a, char b) { return static_cast<char>(a) == b; });
  };
  EXPECT_TRUE(same());
  file.value()->drop_pages();
  EXPECT_TRUE(same());
  std::filesystem::remove(path);  // the mapping keeps it
  EXPECT_TRUE(same());
}

TEST(MappedFile, RefusesWhatIsNoFileOrEmpty) {
  const testing::TempFolder folder;
  const std::string empty = folder.path() / "empty";
  std::ofstream{empty};
  EXPECT_EQ(MappedFile::open(empty).status().code(), StatusCode::kIo);
  EXPECT_EQ(MappedFile::open(folder.path()).status().code(), StatusCode::kIo);
  EXPECT_EQ(MappedFile::open(folder.path() / "absent").status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace flashneuron
