// Weight bytes a second of each kernel and its scalar reference, and of the FFN over rows in DRAM.
//   cmake --preset host -DFLASHNEURON_BENCH=ON && cmake --build ../build/host --target kernels_bench
//   ../build/host/bench/kernels/kernels_bench
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ffn/ffn_accumulator.h"
#include "kernels/kernels.h"

namespace flashneuron {
namespace {

using Dot = float (*)(const std::byte*, DType, const float*, size_t);
using Axpy = void (*)(float, const std::byte*, DType, float*, size_t);

std::vector<float> ramp(size_t count, float scale) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = scale * static_cast<float>(static_cast<int>(i * 7919 % 201) - 100);
  return values;
}

std::vector<std::byte> row(size_t count, DType dtype) {
  std::vector<std::byte> bytes(count * element_bytes(dtype));
  kernels::from_fp32(ramp(count, 0.01f).data(), dtype, bytes.data(), count);
  return bytes;
}

void count_bytes(benchmark::State& state, size_t bytes) {
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes));
}

void bench_dot(benchmark::State& state, Dot dot, DType dtype) {
  const auto count = static_cast<size_t>(state.range(0));
  const auto weights = row(count, dtype);
  const auto x = ramp(count, 0.02f);
  for (auto _ : state) benchmark::DoNotOptimize(dot(weights.data(), dtype, x.data(), count));
  count_bytes(state, weights.size());
}

void bench_axpy(benchmark::State& state, Axpy axpy, DType dtype) {
  const auto count = static_cast<size_t>(state.range(0));
  const auto weights = row(count, dtype);
  std::vector<float> y(count);
  for (auto _ : state) {
    axpy(1e-6f, weights.data(), dtype, y.data(), count);
    benchmark::ClobberMemory();
  }
  count_bytes(state, weights.size());
}

// One token, or a chunk of them, over `rows` neurons that all fire, too many for the caches.
void bench_ffn(benchmark::State& state, DType dtype) {
  const auto hidden = static_cast<uint32_t>(state.range(0));
  const auto tokens = static_cast<size_t>(state.range(1));
  ThreadPool pool(static_cast<int>(state.range(2)));
  constexpr uint32_t kRows = 4096;
  const size_t row_bytes = hidden * element_bytes(dtype);
  const auto weights = row(size_t{2} * kRows * hidden, dtype);
  std::vector<NeuronRow> rows;
  for (uint32_t n = 0; n < kRows; ++n) {
    const std::byte* up = weights.data() + size_t{2} * n * row_bytes;
    rows.push_back({.neuron = n, .up = up, .down = up + row_bytes});
  }
  const auto x = ramp(tokens * hidden, 0.01f);
  const std::vector<float> up_bias(kRows, 1e6f);
  const std::vector<float> down_bias(hidden);
  std::vector<float> out(tokens * hidden);
  FfnAccumulator accumulator(hidden, dtype, tokens, kRows, pool);
  for (auto _ : state) {
    accumulator.begin(x, tokens, up_bias, down_bias);
    accumulator.add(rows);
    accumulator.finish(out);
    benchmark::ClobberMemory();
  }
  count_bytes(state, weights.size());
  state.counters["multiply_adds"] = benchmark::Counter(static_cast<double>(2 * tokens * kRows * hidden),
                                                       benchmark::Counter::kIsIterationInvariantRate);
}

void sizes(benchmark::internal::Benchmark* bench) { bench->Arg(256)->Arg(1000)->Arg(4096); }

BENCHMARK_CAPTURE(bench_dot, fp32, kernels::dot, DType::kFp32)->Apply(sizes);
BENCHMARK_CAPTURE(bench_dot, fp16, kernels::dot, DType::kFp16)->Apply(sizes);
BENCHMARK_CAPTURE(bench_dot, fp32_reference, kernels::reference::dot, DType::kFp32)->Apply(sizes);
BENCHMARK_CAPTURE(bench_dot, fp16_reference, kernels::reference::dot, DType::kFp16)->Apply(sizes);
BENCHMARK_CAPTURE(bench_axpy, fp32, kernels::axpy, DType::kFp32)->Apply(sizes);
BENCHMARK_CAPTURE(bench_axpy, fp16, kernels::axpy, DType::kFp16)->Apply(sizes);
BENCHMARK_CAPTURE(bench_axpy, fp32_reference, kernels::reference::axpy, DType::kFp32)->Apply(sizes);
BENCHMARK_CAPTURE(bench_axpy, fp16_reference, kernels::reference::axpy, DType::kFp16)->Apply(sizes);
BENCHMARK_CAPTURE(bench_ffn, fp32, DType::kFp32)
    ->ArgNames({"d", "tokens", "threads"})
    ->Args({2048, 1, 1})
    ->UseRealTime();
BENCHMARK_CAPTURE(bench_ffn, fp16, DType::kFp16)
    ->ArgNames({"d", "tokens", "threads"})
    ->Args({256, 1, 1})
    ->Args({2048, 1, 1})
    ->Args({2048, 1, 2})
    ->Args({2048, 64, 1})
    ->Args({2048, 64, 2})
    ->UseRealTime();

}  // namespace
}  // namespace flashneuron

int main(int argc, char** argv) {
  benchmark::AddCustomContext("instruction set", flashneuron::kernels::target_name());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
