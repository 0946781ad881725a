// GB/s of weights through the sparse FFN's kernels, beside what plain reads of the same rows in the same order reach
// with the same threads, right before and after.
//   cmake --preset host -DFLASHNEURON_BENCH=ON && cmake --build ../build/host --target kernels_bench
//   ../build/host/bench/kernels/kernels_bench --json out.json [--threads 2] [--mib 2048] [--repeats 9]
//
// A layer of OPT-6.7B, of width 4096, in memory much larger than the caches. `spread`: 10 % of 16384 neurons, each at a
// random place, as in a neuron cache. `stream`: 16384 neurons one after another. Every neuron fires. Types take turns.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "kernels/kernels.h"
#include "weight_matrix.h"

namespace flashneuron {
namespace {

using nlohmann::json;
constexpr uint32_t kHidden = 4096;
constexpr uint32_t kNeurons = 16384;
struct Pattern {
  const char* name;
  double share;  // of the neurons, at random places; 1: all of them, one after another
  int passes;    // over which one sample is taken: other rows each
};
constexpr Pattern kPatterns[] = {{"spread", 0.1, 24}, {"stream", 1.0, 3}};
constexpr std::pair<const char*, DType> kTypes[] = {{"fp32", DType::kFp32},
                                                    {"fp16", DType::kFp16},
                                                    {"bf16", DType::kBf16},
                                                    {"int8", DType::kInt8},
                                                    {"int4", DType::kInt4}};

struct Settings {
  std::string json_path;
  int threads = 2;
  uint64_t mib = 2048;
  int repeats = 9;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

uint64_t mix(std::span<const std::byte> bytes, std::span<const std::byte> next) {
  uint64_t lanes[16] = {};
  for (size_t i = 0; i + sizeof(lanes) <= bytes.size(); i += sizeof(lanes)) {
    if (i < next.size()) {
      __builtin_prefetch(next.data() + i, 0, 3);
      __builtin_prefetch(next.data() + i + 64, 0, 3);
    }
    uint64_t words[16];
    std::memcpy(words, bytes.data() + i, sizeof(words));
    for (size_t lane = 0; lane < 16; ++lane) lanes[lane] ^= words[lane];
  }
  return std::accumulate(std::begin(lanes), std::end(lanes), uint64_t{0});
}

// Seconds of reading all of `pieces`, shared out like the kernels' rows; `ahead` pieces further on are fetched
// meanwhile.
double read_seconds(std::span<const std::span<const std::byte>> pieces, size_t ahead, ThreadPool& pool) {
  std::atomic<uint64_t> all = 0;
  const auto start = std::chrono::steady_clock::now();
  pool.parallel_for(pieces.size(), 1, [&](size_t begin, size_t end) {
    uint64_t sum = 0;
    for (size_t i = begin; i < end; ++i) {
      const bool more = ahead > 0 && i + ahead < pieces.size();
      sum += mix(pieces[i], more ? pieces[i + ahead] : std::span<const std::byte>());
    }
    all += sum;
  });
  const double took = seconds_since(start);
  return all == 1 ? 0 : took;  // the sum is used, or the loop would not run
}

double linear_bandwidth(std::span<const std::byte> memory, ThreadPool& pool) {
  constexpr size_t kPiece = size_t{1} << 20;
  std::vector<std::span<const std::byte>> pieces;
  for (size_t at = 0; at + kPiece <= memory.size(); at += kPiece) pieces.push_back(memory.subspan(at, kPiece));
  return static_cast<double>(pieces.size() * kPiece) / read_seconds(pieces, 0, pool) / 1e9;
}

// Fills the shared caches with other memory.
void evict_caches(ThreadPool& pool) {
  static const std::vector<uint64_t> other(size_t{64} << 17, 1);
  const auto bytes = std::as_bytes(std::span(other));
  linear_bandwidth(bytes, pool);
}

struct Sample {
  double up = 0;  // GB/s of the activations alone (up rows)
  double down = 0;
  double ffn = 0;    // of both
  double reads = 0;  // plain reads of up rows, then of down rows
};

Sample measure(WeightMatrix& matrix, DType dtype, const Pattern& pattern, ThreadPool& pool) {
  const ThreadPool::Awake awake(pool);
  FfnAccumulator accumulator(kHidden, dtype, 1, pool);
  std::vector<float> x(kHidden);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7919 % 201) * 0.01f - 1.0f;
  const std::vector<float> up_bias(kNeurons, 1e4f);
  const std::vector<float> down_bias(kHidden);
  std::vector<float> out(kHidden);
  double up = 0;
  double down = 0;
  double reads = 0;
  double bytes = 0;
  const size_t vector = row_bytes(dtype, kHidden);
  for (int pass = 0; pass < pattern.passes; ++pass) {
    const std::vector<NeuronRow> rows = matrix.draw(kNeurons, pattern.share);
    std::vector<std::span<const std::byte>> ups;
    std::vector<std::span<const std::byte>> downs;
    for (const NeuronRow& row : rows) {
      ups.emplace_back(row.up, vector);
      downs.emplace_back(row.down, vector);
    }
    std::vector<float> activations(rows.size());
    bytes += static_cast<double>(rows.size() * vector);
    // The caches hold a small part of the rows, so that either may come first; they take turns.
    const size_t ahead = 8192 / vector + 1;
    const auto read = [&] { reads += read_seconds(ups, ahead, pool) + read_seconds(downs, ahead, pool); };
    const auto compute = [&] {
      auto start = std::chrono::steady_clock::now();
      accumulator.begin(x, 1, ActivationRule{}, up_bias, down_bias);
      accumulator.activate(rows, activations);
      up += seconds_since(start);
      start = std::chrono::steady_clock::now();
      accumulator.add(rows, activations);
      accumulator.finish(out);
      down += seconds_since(start);
    };
    evict_caches(pool);
    pass % 2 == 0 ? read() : compute();
    evict_caches(pool);
    pass % 2 == 0 ? compute() : read();
  }
  return {bytes / up / 1e9, bytes / down / 1e9, 2 * bytes / (up + down) / 1e9, 2 * bytes / reads / 1e9};
}

json summary(std::vector<double> samples) {
  json result = {{"samples", samples}};
  std::sort(samples.begin(), samples.end());
  result["median"] = samples[samples.size() / 2];
  result["min"] = samples.front();
  result["max"] = samples.back();
  return result;
}

json run(const Settings& settings) {
  ThreadPool pool(settings.threads);
  WeightMatrix matrix(kHidden, settings.mib << 20);
  matrix.fill(DType::kInt8);
  std::vector<double> linear;
  std::map<std::string, std::map<std::string, std::map<std::string, std::vector<double>>>> samples;
  for (int repeat = 0; repeat < settings.repeats; ++repeat) {
    for (const auto& [name, dtype] : kTypes) {
      matrix.fill(dtype);
      linear.push_back(linear_bandwidth(matrix.memory(), pool));
      for (const Pattern& pattern : kPatterns) {
        const Sample sample = measure(matrix, dtype, pattern, pool);
        auto& of_type = samples[pattern.name][name];
        of_type["up"].push_back(sample.up);
        of_type["down"].push_back(sample.down);
        of_type["ffn"].push_back(sample.ffn);
        of_type["reads"].push_back(sample.reads);
        of_type["ratio"].push_back(sample.ffn / sample.reads);
      }
    }
  }
  json result = {{"conditions",
                  {{"instruction_set", kernels::target_name()},
                   {"threads", settings.threads},
                   {"matrix_mib", settings.mib},
                   {"hidden_size", kHidden},
                   {"ffn_size", kNeurons},
                   {"repeats", settings.repeats}}},
                 {"linear_gb_s", summary(linear)}};
  double smallest = 1e9;
  std::printf("linear reads: %.1f GB/s; GB/s of rows:\n", result["linear_gb_s"]["median"].get<double>());
  std::printf("%-7s %-5s %8s %8s %8s %8s %8s\n", "", "", "up", "down", "ffn", "reads", "ratio");
  for (const Pattern& pattern : kPatterns) {
    for (const auto& [name, dtype] : kTypes) {
      json& of_type = result["gb_s"][pattern.name][name];
      for (const auto& [part, values] : samples[pattern.name][name]) of_type[part] = summary(values);
      const auto median = [&](const char* part) { return of_type[part]["median"].get<double>(); };
      std::printf("%-7s %-5s %8.1f %8.1f %8.1f %8.1f %8.2f\n", pattern.name, name, median("up"), median("down"),
                  median("ffn"), median("reads"), median("ratio"));
      if (dtype == DType::kFp16 || has_scales(dtype)) smallest = std::min(smallest, median("ratio"));
    }
  }
  result["ratios"] = {{"kernel_over_bandwidth", smallest}};
  return result;
}

// Exit status 2 for arguments that are none.
int main_of(const std::vector<std::string>& arguments) {
  Settings settings;
  const char* const usage = "usage: kernels_bench [--json FILE] [--threads N] [--mib N] [--repeats N]\n";
  if (arguments.size() % 2 != 0) return std::fputs(usage, stderr), 2;
  for (size_t i = 0; i < arguments.size(); i += 2) {
    const std::string& value = arguments[i + 1];
    const int number = std::atoi(value.c_str());
    if (arguments[i] == "--json") {
      settings.json_path = value;
    } else if (arguments[i] == "--threads" && number > 0) {
      settings.threads = number;
    } else if (arguments[i] == "--mib" && number > 0) {
      settings.mib = static_cast<uint64_t>(number);
    } else if (arguments[i] == "--repeats" && number > 0) {
      settings.repeats = number;
    } else {
      return std::fputs(usage, stderr), 2;
    }
  }
  const json result = run(settings);
  if (settings.json_path.empty()) return 0;
  std::ofstream file(settings.json_path);
  file << result.dump(1) << '\n';
  if (file.flush()) return 0;
  std::fprintf(stderr, "%s cannot be written; choose another file\n", settings.json_path.c_str());
  return 1;
}

}  // namespace
}  // namespace flashneuron

int main(int argc, char** argv) { return flashneuron::main_of({argv + 1, argv + argc}); }
