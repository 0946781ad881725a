#include "runner/arrivals.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <vector>

#include "package/sha256.h"
#include "support/temp_folder.h"

namespace flashneuron {
namespace {

using Hashes = std::map<std::string, std::string>;

void append(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::app) << text; }

TEST(Arrivals, HashesFilesThatComeInPiecesInAnyOrder) {
  const testing::TempFolder folder;
  std::mt19937 random(7);
  std::vector<Arrival> arrivals;
  std::vector<std::string> contents;
  for (size_t i = 0; i < 40; ++i) {
    contents.emplace_back(i * i * 4001 % 300'000 + i, static_cast<char>('a' + i % 26));
    arrivals.push_back({.path = (folder.path() / "late" / std::to_string(i)).string(), .bytes = contents[i].size()});
  }
  Hashes found;
  std::vector<size_t> written(contents.size());
  const auto grow = [&] {  // one file, by a random piece; the folder too comes late
    std::filesystem::create_directory(folder.path() / "late");
    const size_t i = std::uniform_int_distribution<size_t>(0, contents.size() - 1)(random);
    const size_t piece = std::min<size_t>(random() % 200'000, contents[i].size() - written[i]);
    append(arrivals[i].path, contents[i].substr(written[i], piece));
    written[i] += piece;
  };
  const Status status = hash_arriving(
      arrivals, {.on_hash = [&](const Arrival& arrival, const std::string& sha256) { found[arrival.path] = sha256; },
                 .wait = grow});
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(found.size(), arrivals.size());
  for (const auto& [path, sha256] : found) EXPECT_EQ(sha256, sha256_file(path).value()) << path;
}

TEST(Arrivals, HashesNoMoreThanWasAnnounced) {
  const testing::TempFolder folder;
  const Arrival arrival{.path = (folder.path() / "file").string(), .bytes = 3};
  append(arrival.path, "abcd");
  std::string found;
  ASSERT_TRUE(hash_arriving({&arrival, 1}, {.on_hash = [&](const Arrival&, const std::string& hash) { found = hash; },
                                            .wait = [] { FAIL() << "all is there"; }})
                  .ok());
  EXPECT_EQ(found, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Arrivals, AFolderInAFilesPlaceIsAnError) {
  const testing::TempFolder folder;
  const Arrival arrival{.path = folder.path().string(), .bytes = 3};
  const ArrivalListener listener{.on_hash = [](const Arrival&, const std::string&) {}, .wait = [] {}};
  EXPECT_EQ(hash_arriving({&arrival, 1}, listener).code(), StatusCode::kIo);
}

}  // namespace
}  // namespace flashneuron
