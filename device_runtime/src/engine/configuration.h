// Options resolved against a package: every choice made, every file named, every byte of the budget placed. Nothing is
// loaded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attention/attention_program.h"
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
  Budget budget;
  std::vector<uint32_t> capacity_rows;        // per layer
  std::vector<std::vector<uint32_t>> pinned;  // per layer: the hot set, ascending; empty: none
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

// Those of the draft's own engine. Precondition: `chosen` has a draft, and every choice was made.
Options draft_options(const Options& chosen);

}  // namespace flashneuron
