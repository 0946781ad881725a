// The runner's command line: VERB key=value… as PROTOCOL.md defines it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "flashneuron/options.h"
#include "flashneuron/status.h"

namespace flashneuron {

using Keys = std::map<std::string, std::string>;

struct Arguments {
  std::string verb;
  Keys keys;
};

// Errors, all kUsage: no verb, an unknown verb, something that is not key=value, a key that the verb does not take, a
// repeated key, a missing required key. `words` are argv without the program's name.
Result<Arguments> parse_arguments(std::span<const char* const> words);

// Errors: kUsage with the key, its value and what it takes.
Result<Options> parse_options(const Keys& keys);
Result<Sampling> parse_sampling(const Keys& keys);

// Another budget from the token with this index on.
struct RamAt {
  int64_t token = 0;
  int64_t ram_bytes = 0;
};
struct BudgetKeys {
  std::vector<RamAt> ram_at;             // tokens ascending, from 1
  std::optional<int64_t> follow_memory;  // bytes to leave free
};
Result<BudgetKeys> parse_budget_keys(const Keys& keys);

struct ScoreKeys {
  int64_t uncounted = 0;  // tokens at the start of each sequence
  bool steps = false;     // an event for each counted token
};
Result<ScoreKeys> parse_score_keys(const Keys& keys);

struct ProbeOptions {
  std::string folder;
  uint64_t size_bytes = uint64_t{1} << 30;  // of the scratch file
  int64_t point_ms = 200;                   // how long each point of the curve is measured
  std::string cpu_folder = "/sys/devices/system/cpu";
};

// Error: kUsage. Precondition: `folder` is there.
Result<ProbeOptions> parse_probe(const Keys& keys);

struct ReplayKeys {
  std::optional<std::string> activations;  // a trace; absent: the package's own
  uint32_t block_bytes = 4096;             // of the device
  std::optional<uint32_t> uncounted;       // tokens that fill the caches; absent: half of the trace
  std::optional<uint32_t> record_bytes;    // without a package
  std::optional<uint64_t> rows;            // without a package: of all caches
};
// Error: kUsage, also where neither a package nor all of activations, record_bytes and rows is given.
Result<ReplayKeys> parse_replay(const Keys& keys);

// The settings as keys, every choice made; the inverse of parse_options for what they share.
Keys settings_of(const Options& options);

// Keys of the settings of a generation that were given, for the `ready` event.
Keys sampling_of(const Keys& keys);

}  // namespace flashneuron
