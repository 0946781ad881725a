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
};

// `neurons_wanted` is what the residency would use without a limit, `neurons_all` what all of them take.
Budget split_budget(const FixedRoles& fixed, int64_t neurons_wanted, int64_t neurons_all,
                    std::optional<int64_t> ram_bytes);
// kBudgetTooSmall with the minimum and what takes most, if `ram_bytes` is below the minimum.
Status check_budget(const Budget& budget);
int64_t role_bytes(const Budget& budget, const char* role);

// Shares `total_rows` cache rows among layers in proportion to `weights` (one a layer, >= 0, not all zero), none above
// `ffn_size`. More rows in total never mean fewer in a layer.
std::vector<uint32_t> share_rows(uint64_t total_rows, uint32_t ffn_size, std::span<const double> weights);

}  // namespace flashneuron
