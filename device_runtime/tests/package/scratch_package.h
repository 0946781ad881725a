// A copy of tests/data/tiny_package to spoil.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "flashneuron/status.h"
#include "support/temp_folder.h"

namespace flashneuron::testing {

std::string read_text(const std::filesystem::path& path);
void write_text(const std::filesystem::path& path, const std::string& text);
// Bytes of "00ff".
std::string from_hex(const std::string& hex);
std::vector<std::byte> to_bytes(const std::string& text);

class ScratchPackage {
 public:
  ScratchPackage();

  std::string folder() const { return (temp_.path() / "package").string(); }
  std::filesystem::path file(const std::string& name) const { return temp_.path() / "package" / name; }
  nlohmann::json manifest() const { return nlohmann::json::parse(read_text(file("manifest.json"))); }
  void write_manifest(const nlohmann::json& manifest) const { write_text(file("manifest.json"), manifest.dump(1)); }
  // One edit of malformed.json: what its kinds mean stands in FORMAT.md.
  void edit(const std::string& name, const nlohmann::json& edit) const;

 private:
  TempFolder temp_;
};

// Opens a package and looks into all of its headers and predictors, as loading does.
Status open_all(const std::string& folder);

}  // namespace flashneuron::testing
