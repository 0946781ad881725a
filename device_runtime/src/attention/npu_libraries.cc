#include "attention/npu_libraries.h"

#include <dlfcn.h>
#include <stdlib.h>  // setenv

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <vector>

namespace flashneuron {
namespace {

constexpr std::array kRequired = {"libQnnHtp.so", "libQnnSystem.so"};

std::vector<std::filesystem::path> libraries_in(const std::string& folder) {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().filename().string().find(".so") != std::string::npos) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

std::optional<std::string> npu_obstacle(const AttentionFacts& facts, const std::optional<std::string>& folder) {
#ifndef FLASHNEURON_QNN
  (void)facts, (void)folder;
  return "this runner was built without the QNN backend; build it against an ExecuTorch that has it";
#else
  if (!folder) return "no QNN libraries were given; pip install 'flashneuron[qnn]' or set QNN_SDK_ROOT on the host";
  for (const char* name : kRequired) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(std::filesystem::path(*folder) / name, error)) {
      return *folder + " has no " + name + "; push the QNN libraries again";
    }
  }
#ifdef __x86_64__
  if (facts.weight_sharing) {
    return "the Hexagon emulator cannot load programs with shared weights; export with --no-weight-sharing";
  }
#endif
  return std::nullopt;
#endif
}

// Code, relocations and state. Measured on x86-64, where they are the Hexagon emulator: 1.07 times their 106 MB.
uint64_t npu_library_bytes(const std::string& folder) {
  uint64_t bytes = 0;
  for (const std::filesystem::path& path : libraries_in(folder)) {
    std::error_code error;
    const uint64_t size = std::filesystem::file_size(path, error);
    if (!error) bytes += size + size / 8;
  }
  return bytes;
}

// They need each other, in an order that no name tells: what fails is tried again for as long as others succeed. Files
// for the NPU itself are no libraries of this processor, and stay behind.
Status load_npu_libraries(const std::string& folder) {
  setenv("ADSP_LIBRARY_PATH", folder.c_str(), 1);  // where a Hexagon's own loader looks for the files for the NPU
  std::vector<std::filesystem::path> waiting = libraries_in(folder);
  std::map<std::string, std::string> why;
  for (size_t before = waiting.size() + 1; waiting.size() < before;) {
    before = waiting.size();
    std::erase_if(waiting, [&](const std::filesystem::path& path) {
      if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return true;
      why[path.filename().string()] = dlerror();
      return false;
    });
  }
  for (const char* name : kRequired) {
    if (std::any_of(waiting.begin(), waiting.end(),
                    [&](const std::filesystem::path& path) { return path.filename() == name; })) {
      return {StatusCode::kUnsupported, "cannot load " + why[name] + "; push the QNN libraries for this device again"};
    }
  }
  return {};
}

}  // namespace flashneuron
