#include "engine/memory_budget.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace flashneuron {
namespace {

std::string mebibytes(int64_t bytes) {
  const int64_t tenths = (bytes * 10 + (1 << 20) - 1) >> 20;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
}

}  // namespace

Budget split_budget(const FixedRoles& fixed, const OptionalRoles& rest, std::optional<int64_t> ram_bytes) {
  Budget budget;
  budget.roles = {{"process", fixed.process}, {"attention", fixed.attention},
                  {"head", fixed.head},       {"predictor", fixed.predictor},
                  {"kv", fixed.kv},           {"staging", fixed.staging}};
  if (fixed.draft > 0) budget.roles.push_back({"draft", fixed.draft});
  for (const BudgetRole& role : budget.roles) budget.minimum_bytes += role.bytes;
  const int64_t all = rest.neurons_all + rest.embedding;
  budget.all_resident_bytes = budget.minimum_bytes + all;
  budget.ram_bytes = ram_bytes;
  const int64_t left = ram_bytes ? std::max<int64_t>(0, *ram_bytes - budget.minimum_bytes) : all;
  budget.roles.push_back({"neurons", std::min({left, rest.neurons_wanted, rest.neurons_all})});
  budget.roles.push_back({"embedding", rest.embedding_wanted && left >= all ? rest.embedding : 0});
  return budget;
}

Status check_budget(const Budget& budget) {
  if (!budget.ram_bytes || *budget.ram_bytes >= budget.minimum_bytes) return {};
  return {StatusCode::kBudgetTooSmall, "ram is " + mebibytes(*budget.ram_bytes) + ", but this model needs at least " +
                                           mebibytes(budget.minimum_bytes) + " (" +
                                           mebibytes(budget.all_resident_bytes) +
                                           " to be all resident); give more ram"};
}

int64_t role_bytes(const Budget& budget, const char* role) {
  for (const BudgetRole& each : budget.roles) {
    if (each.name == role) return each.bytes;
  }
  return 0;
}

std::vector<uint32_t> share_rows(uint64_t total_rows, uint32_t ffn_size, std::span<const double> weights) {
  const auto rows_at = [&](double level, double weight) {
    return static_cast<uint32_t>(std::min<double>(ffn_size, std::floor(level * weight)));
  };
  const auto total_at = [&](double level) {
    uint64_t total = 0;
    for (const double weight : weights) total += rows_at(level, weight);
    return total;
  };
  // A weight of zero would never fill; such a layer counts as the least active of the others.
  std::vector<double> positive(weights.begin(), weights.end());
  double least = 0;
  for (const double weight : weights) {
    if (weight > 0 && (least == 0 || weight < least)) least = weight;
  }
  for (double& weight : positive) weight = std::max(weight, least);
  weights = positive;

  double low = 0;
  double high = ffn_size / least + 1;
  if (total_at(high) <= total_rows) low = high;
  for (int step = 0; step < 200 && low < high; ++step) {
    const double middle = (low + high) / 2;
    (total_at(middle) <= total_rows ? low : high) = middle;
  }
  std::vector<uint32_t> rows;
  for (const double weight : weights) rows.push_back(rows_at(low, weight));
  return rows;
}

}  // namespace flashneuron
