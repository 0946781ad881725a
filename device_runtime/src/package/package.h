// An opened package: its manifest and where each of its files lies.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "flashneuron/status.h"
#include "package/manifest.h"

namespace flashneuron {

class Package {
 public:
  // Reads FOLDER/manifest.json and checks that every listed file is there with its size. With `store`, a file lies at
  // store/SHA256. Errors: kNotFound, kIo, those of parse_manifest, kCorrupt (missing file or wrong size, named).
  static Result<Package> open(const std::string& folder, const std::optional<std::string>& store);

  const Manifest& manifest() const { return manifest_; }
  // Precondition: `name` is a path of the manifest (parse_manifest has checked every reference).
  std::string path_of(const std::string& name) const;
  uint64_t bytes_of(const std::string& name) const;
  // Sum over the files of a role.
  uint64_t role_bytes(const std::string& role) const;
  // A whole file. Error: kIo.
  Result<std::vector<std::byte>> read(const std::string& name) const;

 private:
  Manifest manifest_;
  std::string folder_;
  std::optional<std::string> store_;
};

}  // namespace flashneuron
