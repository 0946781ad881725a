// How one number of DRAM is split by role. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "flashneuron/engine.h"
#include "flashneuron/status.h"

namespace flashneuron {

// Bytes that a configuration needs whatever the neurons get.
struct FixedRoles {
  int64_t process = 0;    // libraries, heap, stacks
  int64_t attention = 0;  // packed weights and activations
  int64_t head = 0;
  int64_t predictor = 0;
  int64_t kv = 0;
  int64_t staging = 0;  // read buffers, FFN biases, activations
  int64_t draft = 0;    // all of the draft's roles but process; 0: there is none
};

// What the rest of the budget may hold.
struct OptionalRoles {
  int64_t neurons_wanted = 0;    // what the residency would use without a limit
  int64_t neurons_all = 0;       // what all of them take
  int64_t embedding = 0;         // the whole table
  bool embedding_wanted = true;  // resident once all neurons are
};

Budget split_budget(const FixedRoles& fixed, const OptionalRoles& rest, std::optional<int64_t> ram_bytes);
// kBudgetTooSmall with the minimum and what takes most, if `ram_bytes` is below the minimum.
Status check_budget(const Budget& budget);
int64_t role_bytes(const Budget& budget, const char* role);

// Shares `total_rows` cache rows among layers in proportion to `weights` (one a layer, >= 0, not all zero), none above
// `ffn_size`. More rows in total never mean fewer in a layer.
std::vector<uint32_t> share_rows(uint64_t total_rows, uint32_t ffn_size, std::span<const double> weights);

}  // namespace flashneuron
