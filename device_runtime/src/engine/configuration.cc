#include "engine/configuration.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <thread>
#include <utility>

#include "attention/attention_program.h"
#include "attention/kv_cache.h"
#include "attention/npu_libraries.h"
#include "core/align.h"
#include "decode/decoder.h"
#include "decode/ffn_stage.h"
#include "decode/read_batch.h"
#include "engine/backend_choice.h"
#include "engine/hot_set.h"
#include "engine/memory_budget.h"
#include "package/ffn_shard.h"
#include "package/neuron_lists.h"
#include "package/package_check.h"
#include "telemetry/process_memory.h"

namespace flashneuron {
namespace {

constexpr int64_t kMiB = 1 << 20;
// The reader's block is known once files are open; it is at most this.
constexpr uint32_t kLargestBlockBytes = AlignedBuffer::kAlignment;
// Libraries, heap and stacks. The floor is above what a run takes on x86-64 Linux (8 to 10 MiB), so that one
// budget means the same in every run; where the process is larger from the start, it counts as it is.
constexpr int64_t kProcessFloorBytes = 12 * kMiB;
constexpr int64_t kProcessGrowthBytes = 2 * kMiB;
// Page tables of what the budget holds: 8 bytes a page of 4 KiB.
constexpr int64_t kBytesPerPageTableByte = 512;

const PredictorFacts* find_lowrank(const Manifest& manifest) {
  for (const PredictorFacts& predictor : manifest.predictors) {
    if (predictor.kind == "lowrank") return &predictor;
  }
  return nullptr;
}

// Naive streams every round in index order, which only order none gives in few large reads.
Status choose_variant(Configuration& chosen) {
  Options& options = chosen.options;
  const std::vector<FfnVariant>& variants = chosen.manifest().ffn.variants;
  if (!options.layout) options.layout = variants.front().layout;
  const bool naive = options.residency == Residency::kNaive;
  const std::array preferred = {naive ? Order::kNone : Order::kCoactivation,
                                naive ? Order::kCoactivation : Order::kNone};
  for (const Order order : preferred) {
    if (options.order.value_or(order) != order) continue;
    for (chosen.variant = 0; chosen.variant < variants.size(); ++chosen.variant) {
      if (variants[chosen.variant].layout == *options.layout && variants[chosen.variant].order == order) {
        options.order = order;
        if (naive && order != Order::kNone) {
          chosen.warnings.emplace_back("naive reads neurons one by one in this order; export with --order none too");
        }
        return {};
      }
    }
  }
  return {StatusCode::kUnsupported,
          "the package does not have the layout and order that were asked for; export it with --layout bundled,split "
          "--order none,coactivation"};
}

// Precondition: the context is chosen.
Status choose_attention(Configuration& chosen) {
  const auto obstacle = [&](const AttentionFacts& facts) { return npu_obstacle(facts, chosen.options.npu_libraries); };
  FN_ASSIGN_OR_RETURN(BackendChoice choice,
                      choose_backend(chosen.manifest(), chosen.options, *chosen.options.context, obstacle));
  chosen.may_fall_back = choice.may_fall_back;
  chosen.attention = choice.attention;
  chosen.backend_why = std::move(choice.why);
  chosen.options.backend = chosen.attention_facts().backend;
  return {};
}

Status choose_predictor(Configuration& chosen) {
  const bool has_lowrank = find_lowrank(chosen.manifest()) != nullptr;
  if (!chosen.options.predictor) {
    chosen.options.predictor = has_lowrank ? PredictorKind::kLowRank : PredictorKind::kNone;
  }
  if (*chosen.options.predictor == PredictorKind::kLowRank && !has_lowrank) {
    return {StatusCode::kUnsupported,
            "the package has no predictors; export it with --predictor lowrank, or use predictor=none"};
  }
  if (*chosen.options.predictor == PredictorKind::kOracle) {
    chosen.warnings.emplace_back(
        "predictor=oracle keeps a full copy of the rows that its test takes outside the budget");
  }
  return {};
}

Status choose_numbers(Configuration& chosen) {
  Options& options = chosen.options;
  const int64_t longest = chosen.manifest().model.max_context;
  if (!options.context) options.context = std::min(longest, options.expected_tokens.value_or(longest));
  if (*options.context < 1 || *options.context > longest) {
    return {StatusCode::kBadInput, "context is " + std::to_string(*options.context) + "; this model takes 1 to " +
                                       std::to_string(longest) + " tokens"};
  }
  // Programs tell a cache's element by its row's bytes, and the scales of so short heads would eat up what int8 saves.
  if (options.kv == KvType::kInt8 && chosen.manifest().model.head_size <= sizeof(float)) {
    return {StatusCode::kUnsupported, "kv=int8 needs heads of more than 4 elements, this model's have " +
                                          std::to_string(chosen.manifest().model.head_size) + "; use kv=fp16"};
  }
  if (options.window && *options.window == 0)
    return {StatusCode::kBadInput, "window is 0; it must be at least 1 token"};
  const bool naive = options.residency == Residency::kNaive;
  if (options.gate_first && (naive || !chosen.manifest().model.gated)) {
    chosen.warnings.emplace_back(naive ? "gate_first is off: residency naive reads everything"
                                       : "gate_first is off: the model's neurons have no gates");
    options.gate_first = false;
  }
  if (options.threads == 0) options.threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 4u));
  return {};
}

// Half a layer of neurons, so that a dense pass has few rounds; bounded, because the budget pays for it. Each of the
// four areas holds several of the longest reads, and at true size what a token misses of a layer: neighbours on flash
// share a read only if they come in the same round.
uint64_t choose_staging(const Configuration& chosen) {
  const ModelFacts& model = chosen.manifest().model;
  const DType dtype = chosen.manifest().ffn.dtype;
  const uint64_t record = ffn_record_bytes(FfnPart::kBundle, dtype, model.hidden_size, model.gated);
  const uint64_t half_layer = record * model.ffn_size / 2;
  const uint64_t row = row_bytes(chosen.manifest().embedding.dtype, model.hidden_size);
  const uint64_t least = 16 * ReadBatch::worst_bytes(std::max(record, row), kLargestBlockBytes);
  return round_up(std::max(std::clamp<uint64_t>(half_layer, 1 * kMiB, 32 * kMiB), least), AlignedBuffer::kLargePage);
}

// Precondition: everything else is chosen.
Status choose_draft(Configuration& chosen) {
  const Options& options = chosen.options;
  if (options.gate_first) {
    return {StatusCode::kUnsupported, "gate_first=on reads for one token at a time, a draft for several; use one"};
  }
  const uint32_t most = std::min(chosen.attention_facts().max_chunk, Decoder::kMostVerified) - 1;
  if (options.draft_tokens > most) {
    return {StatusCode::kUnsupported, "draft_tokens is " + std::to_string(options.draft_tokens) +
                                          "; this package's programs verify at most " + std::to_string(most)};
  }
  Result<Configuration> configured = configure(draft_options(options));
  const auto of_draft = [](const Status& status) { return Status(status.code(), "the draft: " + status.message()); };
  if (!configured.ok()) return of_draft(configured.status());
  const Configuration& draft = configured.value();
  const uint32_t vocabulary = chosen.manifest().model.vocab_size;
  if (draft.manifest().model.vocab_size != vocabulary) {
    return {StatusCode::kUnsupported,
            "the draft's vocabulary has " + std::to_string(draft.manifest().model.vocab_size) +
                " tokens, the package's " + std::to_string(vocabulary) + "; use a draft of the same tokenizer"};
  }
  for (const std::string& warning : draft.warnings) chosen.warnings.push_back("the draft: " + warning);
  chosen.draft_bytes = draft.budget.all_resident_bytes - role_bytes(draft.budget, "process");
  return {};
}

uint64_t variant_bytes(const Configuration& chosen) {
  uint64_t bytes = 0;
  for (const FfnLayerFiles& layer : chosen.ffn_variant().layers) {
    for (const auto* shards : layer.parts()) {
      for (const std::string& shard : *shards) bytes += chosen.package.bytes_of(shard);
    }
  }
  return bytes;
}

FixedRoles fixed_roles(const Configuration& chosen) {
  const Manifest& manifest = chosen.manifest();
  const ModelFacts& model = manifest.model;
  const AttentionFacts& programs = chosen.attention_facts();
  const AttentionEstimate attention =
      programs.is_npu() ? estimate_npu_attention(chosen.package, programs, *chosen.options.npu_libraries)
                        : estimate_executorch_attention(chosen.package, programs);
  FixedRoles fixed;
  const int64_t rss = static_cast<int64_t>(round_up(static_cast<uint64_t>(read_process_memory().rss_bytes), kMiB));
  fixed.process = std::max(kProcessFloorBytes, rss + kProcessGrowthBytes);
  fixed.attention = static_cast<int64_t>(attention.attention_bytes);
  fixed.head = static_cast<int64_t>(attention.head_bytes);
  PredictorInput predictor_input = PredictorInput::kFfnInput;
  if (*chosen.options.predictor == PredictorKind::kLowRank) {
    predictor_input = find_lowrank(manifest)->input;
    for (const PredictorLayer& layer : find_lowrank(manifest)->layers) {
      fixed.predictor += static_cast<int64_t>(chosen.package.bytes_of(layer.file));
    }
  }
  fixed.kv = static_cast<int64_t>(KvCache::bytes(model.layers, chosen.cache_rows(), chosen.kv_row()));
  const uint32_t chunk = programs.max_chunk;
  const uint64_t biases = uint64_t{model.layers} * (model.ffn_size + model.hidden_size) * sizeof(float);
  const uint64_t scales = chosen.package.role_bytes("ffn_scales");
  const uint64_t accumulator = FfnAccumulator::buffer_bytes(model.hidden_size, manifest.ffn.dtype, chunk) +
                               sizeof(float) * chunk * FfnStage::kMaxRows +
                               sizeof(NeuronRow) * uint64_t{model.ffn_size};
  const uint64_t gates = chosen.options.gate_first ? (sizeof(float) + sizeof(std::byte*)) * model.ffn_size : 0;
  const uint64_t verify = chosen.options.draft ? Decoder::verify_bytes(model) : 0;
  // Row maps and last uses (the policy's and the meter's) of every neuron, and the logits.
  const uint64_t maps = uint64_t{model.layers} * model.ffn_size * 32 + sizeof(float) * model.vocab_size;
  fixed.staging = static_cast<int64_t>(chosen.staging_bytes + biases + scales + accumulator + gates + maps + verify +
                                       Decoder::buffer_bytes(model, chunk, predictor_input));
  fixed.draft = chosen.draft_bytes;
  return fixed;
}

uint32_t cache_row_bytes(const Configuration& chosen) {
  const ModelFacts& model = chosen.manifest().model;
  return FfnStage::cache_row_bytes(model.hidden_size, chosen.manifest().ffn.dtype, model.gated);
}

uint64_t rows_of(const Configuration& chosen, const Budget& budget) {
  return static_cast<uint64_t>(role_bytes(budget, "neurons")) / cache_row_bytes(chosen);
}

OptionalRoles optional_roles(const Configuration& chosen) {
  const ModelFacts& model = chosen.manifest().model;
  const auto all = static_cast<int64_t>(uint64_t{cache_row_bytes(chosen)} * model.ffn_size * model.layers);
  int64_t wanted = all;
  if (chosen.options.residency == Residency::kNaive) wanted = 0;
  if (chosen.options.residency == Residency::kHybrid) {
    const uint64_t weights = static_cast<uint64_t>(chosen.fixed.attention + chosen.fixed.head) +
                             chosen.package.role_bytes("embedding") + chosen.package.role_bytes("ffn_bias") +
                             chosen.package.role_bytes("ffn_scales") + variant_bytes(chosen);
    wanted = std::max<int64_t>(0, static_cast<int64_t>(weights / 2) - chosen.fixed.attention - chosen.fixed.head);
  }
  return {.neurons_wanted = wanted,
          .neurons_all = all,
          .embedding = static_cast<int64_t>(chosen.package.role_bytes("embedding")),
          .embedding_wanted = chosen.options.residency == Residency::kCached};
}

bool keeps_misses(const Configuration& chosen) {
  return chosen.options.residency == Residency::kCached && *chosen.options.predictor != PredictorKind::kNone;
}

// What came of the hot set that was asked for.
void tell_hot(Configuration& chosen) {
  uint64_t pinned = 0;
  for (const std::vector<uint32_t>& layer : chosen.caches.pinned) pinned += layer.size();
  if (chosen.hot.value_or(0) > 0 && chosen.caches.pinned.empty()) {
    chosen.warnings.emplace_back(keeps_misses(chosen)
                                     ? "hot is off: the package has no frequencies; export it again"
                                     : "hot is off: only residency cached with a predictor has a hot set");
  }
  // Two decimals: what is printed can be asked for again.
  const uint64_t rows = rows_of(chosen, chosen.budget);
  chosen.options.hot =
      rows == 0 ? 0 : std::round(100.0 * static_cast<double>(pinned) / static_cast<double>(rows)) / 100;
}

}  // namespace

Budget split_ram(const Configuration& chosen, std::optional<int64_t> ram_bytes) {
  FixedRoles fixed = chosen.fixed;
  const int64_t everything = split_budget(fixed, chosen.rest, std::nullopt).all_resident_bytes;
  fixed.process += std::min(ram_bytes.value_or(everything), everything) / kBytesPerPageTableByte;
  return split_budget(fixed, chosen.rest, ram_bytes);
}

// By frequencies, which also choose the hot set, else by what the predictor selects.
Result<CacheShares> share_neurons(const Configuration& chosen, const Budget& budget) {
  const Manifest& manifest = chosen.manifest();
  const uint32_t layers = manifest.model.layers;
  const uint64_t rows = rows_of(chosen, budget);
  if (keeps_misses(chosen) && !manifest.ffn.frequency.empty()) {
    std::vector<std::vector<float>> frequency(layers);
    for (uint32_t layer = 0; layer < layers; ++layer) {
      FN_ASSIGN_OR_RETURN(frequency[layer], read_frequency(chosen.package, layer));
    }
    NeuronShares shares = share_by_frequency(frequency, rows, chosen.hot);
    return CacheShares{std::move(shares.capacity_rows), std::move(shares.pinned)};
  }
  std::vector<double> activity(layers, 1.0);
  const PredictorFacts* lowrank = find_lowrank(manifest);
  if (keeps_misses(chosen) && lowrank) {
    for (uint32_t layer = 0; layer < layers; ++layer) activity[layer] = lowrank->layers[layer].density;
    if (*std::max_element(activity.begin(), activity.end()) <= 0) activity.assign(layers, 1.0);
  }
  return CacheShares{share_rows(rows, manifest.model.ffn_size, activity), {}};
}

Options draft_options(const Options& chosen) {
  Options draft;
  draft.package = *chosen.draft;
  draft.store = chosen.store;
  draft.kv = chosen.kv;
  draft.backend = "xnnpack";
  draft.threads = chosen.threads;
  draft.io_threads = chosen.io_threads;
  draft.read_gap_bytes = chosen.read_gap_bytes;
  draft.max_read_bytes = chosen.max_read_bytes;
  draft.context = chosen.context;
  return draft;
}

Result<Configuration> configure(const Options& options) {
  FN_ASSIGN_OR_RETURN(Package package, Package::open(options.package, options.store));
  Configuration chosen{.options = options,
                       .package = std::move(package),
                       .fixed = {},
                       .rest = {},
                       .hot = options.hot,
                       .budget = {},
                       .caches = {},
                       .warnings = {},
                       .backend_why = {}};
  FN_RETURN_IF_ERROR(check_package(chosen.package));
  FN_RETURN_IF_ERROR(choose_variant(chosen));
  FN_RETURN_IF_ERROR(choose_predictor(chosen));
  FN_RETURN_IF_ERROR(choose_numbers(chosen));
  FN_RETURN_IF_ERROR(choose_attention(chosen));
  chosen.staging_bytes = choose_staging(chosen);
  if (chosen.options.draft) FN_RETURN_IF_ERROR(choose_draft(chosen));
  chosen.fixed = fixed_roles(chosen);
  chosen.rest = optional_roles(chosen);
  chosen.budget = split_ram(chosen, chosen.options.ram_bytes);
  FN_ASSIGN_OR_RETURN(chosen.caches, share_neurons(chosen, chosen.budget));
  tell_hot(chosen);
  return chosen;
}

}  // namespace flashneuron
