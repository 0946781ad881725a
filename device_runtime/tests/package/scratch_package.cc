#include "scratch_package.h"

#include <fstream>
#include <iterator>
#include <stdexcept>

#include "package/package_check.h"
#include "package/predictor_file.h"

namespace flashneuron::testing {

using nlohmann::json;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

std::vector<std::byte> to_bytes(const std::string& text) {
  std::vector<std::byte> bytes;
  for (const char value : text) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

ScratchPackage::ScratchPackage() {
  std::filesystem::copy(FN_TEST_DATA "/tiny_package", folder(), std::filesystem::copy_options::recursive);
}

void ScratchPackage::edit(const std::string& name, const json& edit) const {
  const std::filesystem::path path = file(name);
  const std::string kind = edit.at("kind");
  if (kind == "remove") {
    if (!std::filesystem::remove(path)) throw std::runtime_error("nothing to remove at " + path.string());
  } else if (kind == "truncate") {
    std::filesystem::resize_file(path, edit.at("bytes").get<uint64_t>());
  } else if (kind == "append") {
    write_text(path, read_text(path) + from_hex(edit.at("hex")));
  } else if (kind == "bytes") {
    const std::string bytes = from_hex(edit.at("hex"));
    write_text(path, read_text(path).replace(edit.at("offset").get<size_t>(), bytes.size(), bytes));
  } else if (kind == "json" || kind == "json_delete") {
    json document = json::parse(read_text(path));
    const json::json_pointer pointer(edit.at("pointer").get<std::string>());
    if (kind == "json") {
      document[pointer] = edit.at("value");
    } else {
      json& parent = document.at(pointer.parent_pointer());
      parent.is_array() ? parent.erase(std::stoul(pointer.back())) : (void)parent.erase(pointer.back());
    }
    write_text(path, document.dump());
  } else {
    throw std::runtime_error("unknown edit " + kind);
  }
}

Status open_all(const std::string& folder) {
  FN_ASSIGN_OR_RETURN(const Package package, Package::open(folder, std::nullopt));
  FN_RETURN_IF_ERROR(check_package(package));
  for (const PredictorFacts& predictor : package.manifest().predictors) {
    for (const PredictorLayer& layer : predictor.layers) {
      FN_RETURN_IF_ERROR(read_lowrank(package.path_of(layer.file), layer.file).status());
    }
  }
  return {};
}

}  // namespace flashneuron::testing
