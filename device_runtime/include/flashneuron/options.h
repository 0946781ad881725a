// Settings of a run. Names and meanings are those of PROTOCOL.md; they decide where bytes come from and when, never
// (but for the low-rank predictor and the KV element) what is computed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace flashneuron {

enum class Residency { kNaive, kHybrid, kCached };
enum class PredictorKind { kNone, kLowRank, kOracle };
enum class Layout { kBundled, kSplit };
enum class Order { kNone, kCoactivation };
enum class KvType { kFp32, kFp16, kInt8 };

struct Options {
  std::string package;               // folder of manifest.json
  std::optional<std::string> store;  // content-addressed folder; absent: files lie in `package`
  std::optional<int64_t> ram_bytes;  // absent: all resident
  Residency residency = Residency::kCached;
  std::optional<PredictorKind> predictor;  // absent: low-rank if the package has one
  std::optional<uint32_t> window;          // tokens, from 1; absent: as many as the budget holds
  std::optional<Layout> layout;            // absent: the package's first
  std::optional<Order> order;              // absent: co-activation if the package has it, but for naive
  std::optional<double> hot;               // share of the neuron budget that is pinned, 0 to 1; absent: chosen
  KvType kv = KvType::kFp16;
  std::string backend = "auto";              // auto, xnnpack, qnn, or one of qnn by name: qnn-sm8650
  std::optional<std::string> soc;            // the device's chip, for instance SM8650
  std::optional<std::string> npu_libraries;  // folder of the NPU's libraries; absent: the NPU is not used
  std::optional<std::string> etdump;         // folder to make, for ExecuTorch's profile of every operator
  int threads = 0;                           // 0: cores, at most 4
  int io_threads = 8;
  uint32_t read_gap_bytes = 0;        // gaps between wanted bytes up to this are read across
  uint32_t max_read_bytes = 1 << 20;  // longest read of several records
  bool overlap = true;                // compute while reads are in flight, and read the next layer's early
  bool gate_first = false;            // of gated models: read gates, then the rest of what they let fire
  std::optional<int64_t> context;     // tokens that the KV cache holds; absent: as below
  // Prompt and output together, if known: the KV cache then holds just these, or the model's longest context if that is
  // shorter; absent: the model's longest.
  std::optional<int64_t> expected_tokens;
  // Speculative decoding, which changes no token: folder of a small package of the same vocabulary, in the same store,
  // that drafts so many tokens at a time. All of it stays in DRAM, and counts in ram_bytes. Absent: none.
  std::optional<std::string> draft;
  uint32_t draft_tokens = 4;  // 1 to 16
};

struct Sampling {
  int64_t max_new_tokens = 128;
  bool ignore_eos = false;
  float temperature = 0.0f;  // 0: greedy
  int32_t top_k = 0;         // 0: off
  float top_p = 1.0f;        // 1: off
  uint64_t seed = 0;
};

}  // namespace flashneuron
