// Which of a package's attention programs run on this device, and why.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "flashneuron/options.h"
#include "flashneuron/status.h"
#include "package/manifest.h"

namespace flashneuron {

struct BackendChoice {
  size_t attention = 0;        // index into manifest.attention
  std::string why;             // empty: the package has no other programs
  bool may_fall_back = false;  // to the CPU's programs, if these cannot be loaded
};

// Why programs of an NPU cannot run here; absent: they can.
using NpuObstacle = std::function<std::optional<std::string>(const AttentionFacts&)>;

// `options.backend`: auto takes the NPU's programs where nothing speaks against them, else the CPU's. `context`: tokens
// of the session. Pure but for `obstacle`, which is asked last. Error: kUnsupported, with what to do.
Result<BackendChoice> choose_backend(const Manifest& manifest, const Options& options, int64_t context,
                                     const NpuObstacle& obstacle);

}  // namespace flashneuron
