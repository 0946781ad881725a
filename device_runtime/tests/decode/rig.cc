#include "decode/rig.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace flashneuron::testing {
namespace {

void must(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

template <typename T>
T must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

const FfnVariant& variant_of(const Package& package, Layout layout, Order order) {
  for (const FfnVariant& variant : package.manifest().ffn.variants) {
    if (variant.layout == layout && variant.order == order) return variant;
  }
  throw std::runtime_error("the package lacks the layout or order");
}

}  // namespace

Rig::Rig(const TinyPackage& files, const RigOptions& options)
    : Rig(files, options, make_pread_reader({.workers = 3, .trace = options.trace})) {}

Rig::Rig(const TinyPackage& files, const RigOptions& options, std::unique_ptr<FlashReader> reader)
    : package_(must(Package::open(files.folder(), std::nullopt))), pool_(options.threads), reader_(std::move(reader)) {
  const Manifest& manifest = package_->manifest();
  const FfnVariant& variant = variant_of(*package_, options.layout, options.order);
  queue_.emplace(*reader_, options.reads, options.trace == nullptr ? nullptr : &options.trace->compute());
  staging_.emplace(must(Staging::create(*queue_, options.staging_bytes)));
  neuron_files_ = must(NeuronFiles::open(*package_, variant, *reader_));
  embedding_ = must(Embedding::open(*package_, staging_->demand[0]));
  if (options.residency == Residency::kNaive) {
    for (const std::string& name : manifest.attention.front().layers) {
      naive_.push_back(must(WholeFileReads::open(*package_, {name}, *staging_)));
    }
    naive_.push_back(must(WholeFileReads::open(*package_, {manifest.embedding.file}, *staging_)));
  }
  weights_ = {manifest.model.hidden_size, manifest.model.ffn_size, manifest.ffn.dtype, {}, {}, {}};
  for (uint32_t layer = 0; layer < manifest.model.layers; ++layer) {
    weights_.rules.push_back(files.layer(layer).rule);
    std::vector<float> bias = files.layer(layer).up_bias;
    bias.insert(bias.end(), files.layer(layer).down_bias.begin(), files.layer(layer).down_bias.end());
    weights_.biases.push_back(bias);
    if (has_scales(manifest.ffn.dtype)) weights_.scales.push_back(must(package_->read(manifest.ffn.scales[layer])));
  }
  if (options.predictor == PredictorKind::kLowRank) predictor_ = must(load_lowrank_predictor(*package_, pool_));
  if (options.predictor == PredictorKind::kOracle) predictor_ = must(load_oracle_predictor(*package_, variant, pool_));
  attention_ = std::make_unique<FakeAttention>(manifest.model, options.max_chunk);
  kv_ = must(KvCache::create(manifest.model.layers, manifest.model.max_context,
                             {manifest.model.kv_heads, manifest.model.head_size, options.kv}));
  FfnStageOptions ffn;
  ffn.read_all = options.residency == Residency::kNaive;
  Predictor* const predictor = options.spy != nullptr ? options.spy : predictor_.get();
  ffn.keep_misses = options.residency == Residency::kCached && predictor != nullptr;
  ffn.overlap = options.overlap;
  ffn.gate_first = options.gate_first;
  ffn.window = options.window;
  ffn.caches.capacity_rows.assign(manifest.model.layers, options.capacity_rows);
  ffn.caches.pinned.assign(manifest.model.layers, options.pinned);
  ffn_ = must(FfnStage::create(weights_, *neuron_files_, *staging_, pool_, options.max_chunk, ffn));
  decoder_.emplace(DecoderParts{.model = manifest.model,
                                .pool = pool_,
                                .queue = *queue_,
                                .embedding = *embedding_,
                                .attention = *attention_,
                                .kv = *kv_,
                                .predictor = predictor,
                                .ffn = *ffn_,
                                .naive = naive_.empty() ? nullptr : &naive_});
}

std::vector<float> Rig::run(const std::vector<int32_t>& prompt, int steps) {
  std::vector<float> all;
  std::vector<float> logits(package_->manifest().model.vocab_size);
  must(prefill(prompt));
  must(decoder_->logits(logits));
  all.insert(all.end(), logits.begin(), logits.end());
  for (int i = 0; i < steps; ++i) {
    must(step(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())));
    must(decoder_->logits(logits));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

Counters Rig::count(const std::vector<int32_t>& prompt, int steps) {
  must(prefill(prompt));
  decoder_->take_counters();
  for (int i = 0; i < steps; ++i) must(step(i % 3 + 3));
  return decoder_->take_counters();
}

}  // namespace flashneuron::testing
