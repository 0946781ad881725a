// The libraries of an NPU's vendor, which lie in a folder beside the runner, not in the system's search path.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "flashneuron/status.h"
#include "package/manifest.h"

namespace flashneuron {

// Why this runner cannot use programs of `facts` with the libraries in `folder`; absent: nothing speaks against it.
// Only looks; loads nothing.
std::optional<std::string> npu_obstacle(const AttentionFacts& facts, const std::optional<std::string>& folder);

// What they take in DRAM once they run, an upper bound.
uint64_t npu_library_bytes(const std::string& folder);

// Loads every library of `folder` for the rest of the process, so that those who look for them by name find them.
// Error: kUnsupported.
Status load_npu_libraries(const std::string& folder);

}  // namespace flashneuron
