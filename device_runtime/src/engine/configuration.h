// Options resolved against a package: every choice made, every file named, every byte of the budget placed. Nothing is
// loaded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "attention/attention_program.h"
#include "decode/ffn_stage.h"
#include "engine/memory_budget.h"
#include "flashneuron/engine.h"
#include "flashneuron/options.h"
#include "flashneuron/status.h"
#include "package/package.h"

namespace flashneuron {

struct Configuration {
  Options options;  // with every choice made
  Package package;
  size_t variant = 0;    // index into manifest().ffn.variants
  size_t attention = 0;  // index into manifest().attention
  uint64_t staging_bytes = 0;
  int64_t draft_bytes = 0;  // of a draft's engine and session, without its process
  FixedRoles fixed;         // but for page tables, which depend on the budget
  OptionalRoles rest;
  std::optional<double> hot;  // as asked; options.hot is what came of it
  Budget budget;
  CacheShares caches;
  std::vector<std::string> warnings;
  std::string backend_why;
  bool may_fall_back = false;  // BackendChoice's

  const Manifest& manifest() const { return package.manifest(); }
  const FfnVariant& ffn_variant() const { return manifest().ffn.variants[variant]; }
  const AttentionFacts& attention_facts() const { return manifest().attention[attention]; }
  KvRow kv_row() const { return {manifest().model.kv_heads, manifest().model.head_size, options.kv}; }
  uint32_t cache_rows() const {
    return flashneuron::cache_rows(attention_facts(), static_cast<uint32_t>(*options.context));
  }
};

// Errors: those of Engine::budget().
Result<Configuration> configure(const Options& options);
// How the configuration splits `ram_bytes` (absent: all that it needs), which may be too few: see check_budget().
Budget split_ram(const Configuration& chosen, std::optional<int64_t> ram_bytes);
// The neurons that `budget` has room for, shared among the layers. Errors: kIo, kCorrupt.
Result<CacheShares> share_neurons(const Configuration& chosen, const Budget& budget);

// Those of the draft's own engine. Precondition: `chosen` has a draft, and every choice was made.
Options draft_options(const Options& chosen);

}  // namespace flashneuron
