// What the neuron cache costs a token, and how many misses each way to fill it leaves. Usage: cache_bench [--json FILE]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cache/neuron_cache.h"
#include "cache/window_policy.h"
#include "cache_trace.h"

namespace flashneuron::bench {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kLayers = 32;  // of OPT-6.7B: a token's cost is this many times a layer's

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// F = 16384, rows for 25 % of it, 10 % selected: the steps of one layer and token, medians over tokens.
json operations() {
  const TraceOptions options;
  Trace trace(options);
  NeuronCache cache = std::move(NeuronCache::create(options.neurons, options.neurons / 4, 64)).value();
  WindowPolicy policy(options.neurons, std::nullopt);
  std::vector<double> find, touch, evict, insert;
  std::vector<uint32_t> misses;
  double selected_sum = 0;
  double missed_sum = 0;
  constexpr uint32_t kWarmUp = 50;
  constexpr uint32_t kTokens = 300;
  for (uint32_t token = 0; token < kWarmUp + kTokens; ++token) {
    const std::vector<uint32_t>& selected = trace.next();
    misses.clear();
    const auto start = Clock::now();
    for (const uint32_t neuron : selected) {
      if (cache.find(neuron) == nullptr) misses.push_back(neuron);
    }
    const auto found = Clock::now();
    policy.touch(selected);
    const auto touched = Clock::now();
    for (const uint32_t neuron : policy.evictions(cache, static_cast<uint32_t>(misses.size()))) cache.evict(neuron);
    const auto evicted = Clock::now();
    for (const uint32_t neuron : misses) {
      if (cache.size() == cache.capacity()) break;
      cache.insert(neuron);
      policy.admit(neuron);
    }
    const auto inserted = Clock::now();
    if (token < kWarmUp) continue;
    find.push_back(microseconds(found - start));
    touch.push_back(microseconds(touched - found));
    evict.push_back(microseconds(evicted - touched));
    insert.push_back(microseconds(inserted - evicted));
    selected_sum += static_cast<double>(selected.size());
    missed_sum += static_cast<double>(misses.size());
  }
  const double sum = median(find) + median(touch) + median(evict) + median(insert);
  return {{"neurons", options.neurons},
          {"capacity", 0.25},
          {"selected", selected_sum / kTokens / options.neurons},
          {"missed", missed_sum / kTokens / options.neurons},
          {"find_us", median(find)},
          {"touch_us", median(touch)},
          {"evict_us", median(evict)},
          {"insert_us", median(insert)},
          {"token_us", kLayers * sum}};
}

json policies() {
  struct Way {
    const char* name;
    std::optional<uint32_t> window;
    std::optional<double> hot;
  };
  const std::vector<Way> ways = {{"lru", std::nullopt, 0.0},
                                 {"window_4", 4, 0.0},
                                 {"hot_auto", std::nullopt, std::nullopt},
                                 {"all_hot", std::nullopt, 1.0}};
  json rows = json::array();
  for (const double memory : {0.0, 0.5}) {
    for (const double capacity : {0.15, 0.25, 0.44}) {
      json row = {{"memory", memory}, {"capacity", capacity}};
      for (const Way& way : ways) {
        const CacheRun run = run_cache({.memory = memory}, capacity, way.window, way.hot, 100, 200);
        row[way.name] = run.misses;
        if (!way.hot) row["pinned"] = run.pinned;
      }
      rows.push_back(row);
    }
  }
  return rows;
}

void print(const json& result) {
  const json& cost = result["operations"];
  std::printf("one layer and token, F = %d, rows for 25 %%, %.1f %% selected, %.1f %% missed (us, medians):\n",
              cost["neurons"].get<int>(), 100 * cost["selected"].get<double>(), 100 * cost["missed"].get<double>());
  std::printf("  find %.1f  touch %.1f  evict %.1f  insert %.1f; %u layers: %.0f us a token, copies left out\n\n",
              cost["find_us"].get<double>(), cost["touch_us"].get<double>(), cost["evict_us"].get<double>(),
              cost["insert_us"].get<double>(), kLayers, cost["token_us"].get<double>());
  std::printf("misses, %% of F a token (memory: share of a neuron's state that stays from token to token)\n");
  std::printf("%8s %8s %8s %8s %8s %8s %8s\n", "memory", "rows", "LRU", "window 4", "hot auto", "(pinned", "all hot");
  for (const json& row : result["policies"]) {
    std::printf("%8.1f %7.0f%% %8.2f %8.2f %8.2f %6.0f%%) %8.2f\n", row["memory"].get<double>(),
                100 * row["capacity"].get<double>(), 100 * row["lru"].get<double>(),
                100 * row["window_4"].get<double>(), 100 * row["hot_auto"].get<double>(),
                100 * row["pinned"].get<double>(), 100 * row["all_hot"].get<double>());
  }
}

}  // namespace
}  // namespace flashneuron::bench

int main(int argc, char** argv) {
  const bool to_file = argc == 3 && std::strcmp(argv[1], "--json") == 0;
  if (argc != 1 && !to_file) {
    std::fprintf(stderr, "usage: cache_bench [--json FILE]\n");
    return 2;
  }
  const nlohmann::json result = {{"operations", flashneuron::bench::operations()},
                                 {"policies", flashneuron::bench::policies()}};
  flashneuron::bench::print(result);
  if (!to_file) return 0;
  std::ofstream file(argv[2]);
  file << result.dump(1) << '\n';
  if (file.flush()) return 0;
  std::fprintf(stderr, "cache_bench: %s cannot be written; give another file\n", argv[2]);
  return 1;
}
