// GB/s of weights through the sparse FFN's kernels, beside the read bandwidth that the same threads reach on the same
// memory in the same run.
//   cmake --preset host -DFLASHNEURON_BENCH=ON && cmake --build ../build/host --target kernels_bench
//   ../build/host/bench/kernels/kernels_bench --json out.json [--threads 2] [--mib 2048] [--repeats 9]
//
// A layer of OPT-6.7B: 10 % of 16384 neurons of width 4096, each at a random place, so that nothing of one pass is in
// the caches in the next. Every selected neuron fires. Passes of all types and the plain reads take turns.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "kernels/kernels.h"
#include "weight_matrix.h"

namespace flashneuron {
namespace {

using nlohmann::json;
constexpr uint32_t kHidden = 4096;
constexpr uint32_t kNeurons = 16384;
constexpr double kShare = 0.1;
constexpr int kPasses = 24;  // over which one sample is taken: fresh rows each
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

// GB/s of adding up all of `memory`, each thread its own part.
double read_bandwidth(std::span<const std::byte> memory, ThreadPool& pool) {
  const size_t parts = static_cast<size_t>(pool.threads());
  const size_t words = memory.size() / sizeof(uint64_t) / parts / 16 * 16;
  std::vector<uint64_t> sums(parts * 8);
  const auto start = std::chrono::steady_clock::now();
  pool.parallel_for(parts, 1, [&](size_t begin, size_t end) {
    for (size_t part = begin; part < end; ++part) {
      const auto* data = reinterpret_cast<const uint64_t*>(memory.data()) + part * words;
      uint64_t lanes[16] = {};
      for (size_t i = 0; i < words; i += 16) {
        for (size_t lane = 0; lane < 16; ++lane) lanes[lane] ^= data[i + lane];
      }
      for (const uint64_t lane : lanes) sums[part * 8] += lane;
    }
  });
  const double gigabytes = static_cast<double>(words * parts * sizeof(uint64_t)) / 1e9;
  const double took = seconds_since(start);
  uint64_t all = 0;
  for (const uint64_t sum : sums) all += sum;
  return all == 1 ? 0 : gigabytes / took;  // the sums are used, or the loop would not run
}

struct Sample {
  double up = 0;
  double down = 0;
  double ffn = 0;
};

// GB/s of the activations alone (up rows), of the sums alone (down columns), and of both.
Sample measure(WeightMatrix& matrix, DType dtype, ThreadPool& pool) {
  FfnAccumulator accumulator(kHidden, dtype, 1, pool);
  std::vector<float> x(kHidden);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7919 % 201) * 0.01f - 1.0f;
  const std::vector<float> up_bias(kNeurons, 1e4f);
  const std::vector<float> down_bias(kHidden);
  std::vector<float> out(kHidden);
  double up = 0;
  double down = 0;
  double bytes = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const std::vector<NeuronRow> rows = matrix.draw(kNeurons, kShare);
    std::vector<float> activations(rows.size());
    bytes += static_cast<double>(rows.size() * row_bytes(dtype, kHidden));
    auto start = std::chrono::steady_clock::now();
    accumulator.begin(x, 1, up_bias, down_bias);
    accumulator.activate(rows, activations);
    up += seconds_since(start);
    start = std::chrono::steady_clock::now();
    accumulator.add(rows, activations);
    accumulator.finish(out);
    down += seconds_since(start);
  }
  return {bytes / up / 1e9, bytes / down / 1e9, 2 * bytes / (up + down) / 1e9};
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
  std::vector<double> bandwidth;
  std::map<std::string, std::map<std::string, std::vector<double>>> samples;
  for (int repeat = 0; repeat < settings.repeats; ++repeat) {
    for (const auto& [name, dtype] : kTypes) {
      bandwidth.push_back(read_bandwidth(matrix.memory(), pool));
      matrix.fill(dtype);
      const Sample sample = measure(matrix, dtype, pool);
      samples[name]["up"].push_back(sample.up);
      samples[name]["down"].push_back(sample.down);
      samples[name]["ffn"].push_back(sample.ffn);
    }
  }
  json result = {{"conditions",
                  {{"instruction_set", kernels::target_name()},
                   {"threads", settings.threads},
                   {"matrix_mib", settings.mib},
                   {"hidden_size", kHidden},
                   {"ffn_size", kNeurons},
                   {"share", kShare},
                   {"passes_per_sample", kPasses},
                   {"repeats", settings.repeats}}},
                 {"read_gb_s", summary(bandwidth)}};
  const double reads = result["read_gb_s"]["max"];
  double smallest = 1e9;
  std::printf("reads: %.1f GB/s at best\n%-5s %8s %8s %8s %8s\n", reads, "", "up", "down", "ffn", "ratio");
  for (const auto& [name, dtype] : kTypes) {
    for (const auto& [part, values] : samples[name]) result["gb_s"][name][part] = summary(values);
    const json& of_type = result["gb_s"][name];
    const double ratio = of_type["ffn"]["median"].get<double>() / reads;
    result["over_bandwidth"][name] = ratio;
    std::printf("%-5s %8.1f %8.1f %8.1f %8.2f\n", name, of_type["up"]["median"].get<double>(),
                of_type["down"]["median"].get<double>(), of_type["ffn"]["median"].get<double>(), ratio);
    if (dtype == DType::kFp16 || has_scales(dtype)) smallest = std::min(smallest, ratio);
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
