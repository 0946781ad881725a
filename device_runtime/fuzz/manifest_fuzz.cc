// manifest.json: whatever is accepted names only files inside the package, each of them listed.
#include <cstdlib>
#include <string_view>

#include "package/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto manifest = flashneuron::parse_manifest({reinterpret_cast<const char*>(data), size});
  if (!manifest.ok()) return manifest.status().message().empty() ? std::abort(), 1 : 0;
  const flashneuron::Manifest& found = manifest.value();
  for (const auto& [path, entry] : found.files) {
    if (path.empty() || path.front() == '/' || ("/" + path + "/").find("/../") != std::string::npos) std::abort();
  }
  for (const auto& facts : found.attention) {
    for (const auto& name : facts.layers) {
      if (!found.files.contains(name)) std::abort();
    }
  }
  return 0;
}
