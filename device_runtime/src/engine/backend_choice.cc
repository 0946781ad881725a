#include "engine/backend_choice.h"

#include <algorithm>
#include <cctype>

namespace flashneuron {
namespace {

constexpr char kQnn[] = "qnn-";

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::optional<size_t> find(const Manifest& manifest, const std::string& backend) {
  for (size_t i = 0; i < manifest.attention.size(); ++i) {
    if (manifest.attention[i].backend == backend) return i;
  }
  return std::nullopt;
}

// The chips that the package has NPU programs for, upper case.
std::string chips(const Manifest& manifest) {
  std::string names;
  for (const AttentionFacts& facts : manifest.attention) {
    if (!facts.is_npu()) continue;
    std::string name = facts.backend.substr(sizeof(kQnn) - 1);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

// Why not the NPU; absent: `found` is set.
std::optional<std::string> npu_refusal(const Manifest& manifest, const Options& options, int64_t context,
                                       const NpuObstacle& obstacle, size_t& found) {
  const std::string have = chips(manifest);
  if (have.empty()) return "the package has no programs for an NPU; export it with --backend xnnpack,qnn --soc CHIP";
  if (!options.soc) return "the package's programs are for " + have + ", and this device did not name its chip";
  const auto index = find(manifest, kQnn + lower(*options.soc));
  if (!index) {
    return "the package's programs are for " + have + ", this device is " + *options.soc + "; export it with --soc " +
           *options.soc;
  }
  const AttentionFacts& facts = manifest.attention[*index];
  if (options.backend.starts_with(kQnn) && options.backend != facts.backend) {
    return "this device is " + *options.soc + "; use backend=qnn";
  }
  if (options.draft)
    return "on an NPU bits depend on how many tokens are computed together, and a draft must change none";
  if (options.kv != KvType::kFp16) return "the NPU's programs need kv=fp16";
  if (context > facts.contexts.back()) {
    return "the NPU's programs hold a context of " + std::to_string(facts.contexts.back()) + " tokens, " +
           std::to_string(context) + " are needed; export it with larger --contexts";
  }
  found = *index;
  return obstacle(facts);
}

}  // namespace

Result<BackendChoice> choose_backend(const Manifest& manifest, const Options& options, int64_t context,
                                     const NpuObstacle& obstacle) {
  const auto cpu = find(manifest, "xnnpack");
  if (cpu && manifest.attention.size() == 1 && !options.backend.starts_with("qnn")) return BackendChoice{*cpu, {}};
  if (options.backend == "xnnpack") {
    if (cpu) return BackendChoice{*cpu, "asked for"};
    return Status(StatusCode::kUnsupported,
                  "the package has no attention programs for xnnpack; export it with "
                  "--backend xnnpack");
  }
  size_t npu = 0;
  const std::optional<std::string> refusal = npu_refusal(manifest, options, context, obstacle, npu);
  const bool any = options.backend == "auto";
  if (!refusal) return BackendChoice{npu, any ? "the device has this NPU" : "asked for", any && cpu};
  if (any && cpu) return BackendChoice{*cpu, *refusal};
  return Status(StatusCode::kUnsupported, "backend=" + options.backend + " is not possible: " + *refusal);
}

}  // namespace flashneuron
