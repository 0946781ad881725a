// A decoder over a tiny package and a fake attention, with every switch in a test's hands.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "attention/fake_attention.h"
#include "attention/kv_cache.h"
#include "core/thread_pool.h"
#include "decode/decoder.h"
#include "decode/embedding.h"
#include "decode/ffn_stage.h"
#include "decode/neuron_files.h"
#include "decode/read_batch.h"
#include "decode/whole_file_reads.h"
#include "flash/flash_reader.h"
#include "package/package.h"
#include "predictor/predictor.h"
#include "support/tiny_package.h"

namespace flashneuron::testing {

struct RigOptions {
  Layout layout = Layout::kBundled;
  Order order = Order::kNone;
  PredictorKind predictor = PredictorKind::kNone;
  Predictor* spy = nullptr;  // in its place; must outlive the rig
  Residency residency = Residency::kCached;
  std::optional<uint32_t> window = std::nullopt;
  uint32_t capacity_rows = 0;         // per layer
  std::vector<uint32_t> pinned = {};  // the hot set of every layer
  uint64_t staging_bytes = 512 * 1024;
  ReadTuning reads = {};
  int threads = 1;
  uint32_t max_chunk = 8;
  KvType kv = KvType::kFp16;
  bool overlap = true;
  bool gate_first = false;
  Trace* trace = nullptr;
};

// A failing step throws std::runtime_error, which fails the test.
class Rig {
 public:
  Rig(const TinyPackage& files, const RigOptions& options);
  // Reads through `reader` instead of a pool of pread workers.
  Rig(const TinyPackage& files, const RigOptions& options, std::unique_ptr<FlashReader> reader);

  // Logits after the prompt, then after each of `steps` greedy tokens, one after the other.
  std::vector<float> run(const std::vector<int32_t>& prompt, int steps);
  // What decoding `steps` tokens after the prompt counts; which tokens is the same for all.
  Counters count(const std::vector<int32_t>& prompt, int steps);
  Status prefill(const std::vector<int32_t>& prompt) { return decoder_->prefill(prompt); }
  Status step(int32_t id) { return decoder_->step(id); }

  Decoder& decoder() { return *decoder_; }
  FfnStage& ffn() { return *ffn_; }
  FlashReader& reader() { return *reader_; }
  const Package& package() const { return *package_; }

 private:
  std::optional<Package> package_;
  ThreadPool pool_;
  std::unique_ptr<FlashReader> reader_;
  std::optional<ReadQueue> queue_;
  std::optional<Staging> staging_;
  std::optional<NeuronFiles> neuron_files_;
  std::optional<Embedding> embedding_;
  std::vector<WholeFileReads> naive_;
  FfnWeights weights_;
  std::unique_ptr<Predictor> predictor_;
  std::unique_ptr<FakeAttention> attention_;
  std::optional<KvCache> kv_;
  std::unique_ptr<FfnStage> ffn_;
  std::optional<Decoder> decoder_;
};

}  // namespace flashneuron::testing
