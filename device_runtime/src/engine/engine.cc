#include "flashneuron/engine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/engine_state.h"
#include "engine/memory_budget.h"
#include "telemetry/process_memory.h"
#include "telemetry/timer.h"
#include "telemetry/trace.h"

namespace flashneuron {
namespace {

Status read_ffn_weights(const Package& package, FfnWeights& weights) {
  const Manifest& manifest = package.manifest();
  weights.hidden_size = manifest.model.hidden_size;
  weights.ffn_size = manifest.model.ffn_size;
  weights.dtype = manifest.ffn.dtype;
  for (uint32_t layer = 0; layer < manifest.model.layers; ++layer) {
    weights.rules.push_back(manifest.model.rule(layer));
  }
  for (const std::string& name : manifest.ffn.bias) {
    FN_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, package.read(name));
    std::vector<float>& bias = weights.biases.emplace_back(bytes.size() / sizeof(float));
    std::memcpy(bias.data(), bytes.data(), bias.size() * sizeof(float));
  }
  for (const std::string& name : manifest.ffn.scales) {
    FN_ASSIGN_OR_RETURN(weights.scales.emplace_back(), package.read(name));
  }
  return {};
}

// One entry a layer with its attention program, then one with everything else that a token needs.
Result<std::vector<WholeFileReads>> open_naive(const Configuration& chosen, Staging& staging) {
  std::vector<WholeFileReads> naive;
  for (const std::string& layer : chosen.attention_facts().layers) {
    FN_ASSIGN_OR_RETURN(WholeFileReads reads, WholeFileReads::open(chosen.package, {layer}, staging));
    naive.push_back(std::move(reads));
  }
  FN_ASSIGN_OR_RETURN(
      WholeFileReads rest,
      WholeFileReads::open(chosen.package, {chosen.manifest().embedding.file, chosen.attention_facts().head}, staging));
  naive.push_back(std::move(rest));
  return naive;
}

struct LoadedAttention {
  std::unique_ptr<AttentionProgram> programs;
  int64_t load_us = 0;
  int64_t loaded_bytes = 0;
};

Result<std::unique_ptr<AttentionProgram>> load_programs(const Configuration& chosen, OperatorProfile* profile) {
  const AttentionFacts& facts = chosen.attention_facts();
  if (!facts.is_npu()) return load_executorch_attention(chosen.package, facts, chosen.options.threads, profile);
  return load_npu_attention(chosen.package, facts, static_cast<uint32_t>(*chosen.options.context),
                            *chosen.options.npu_libraries, profile);
}

Result<LoadedAttention> load_chosen(const Configuration& chosen, OperatorProfile* profile,
                                    const AttentionLoader& load) {
  FN_RETURN_IF_ERROR(check_budget(chosen.budget));
  const int64_t rss_before = read_process_memory().rss_bytes;
  const int64_t start_us = now_us();
  LoadedAttention loaded;
  FN_ASSIGN_OR_RETURN(loaded.programs, load(chosen, profile));
  loaded.load_us = now_us() - start_us;
  loaded.loaded_bytes = std::max<int64_t>(0, read_process_memory().rss_bytes - rss_before);  // heap may be given back
  return loaded;
}

// Where the NPU's programs turn out not to load, or not to fit where the CPU's do, and nobody insisted on them, the
// CPU's take their place in `chosen`.
Result<LoadedAttention> load_attention(const Options& options, Configuration& chosen, OperatorProfile* profile,
                                       const AttentionLoader& load) {
  Result<LoadedAttention> loaded = load_chosen(chosen, profile, load);
  if (loaded.ok() || !chosen.attention_facts().is_npu() || !chosen.may_fall_back) return loaded;
  Options on_cpu = options;
  on_cpu.backend = "xnnpack";
  FN_ASSIGN_OR_RETURN(Configuration other, configure(on_cpu));
  const bool too_small = loaded.status().code() == StatusCode::kBudgetTooSmall;
  if (too_small && !check_budget(other.budget).ok()) return loaded;
  chosen = std::move(other);
  chosen.backend_why = (too_small ? "for the NPU, " : "") + loaded.status().message();
  chosen.warnings.push_back("the NPU is not used: " + chosen.backend_why);
  return load_chosen(chosen, profile, load);
}

// Tells the trace what the reader's files are; opening one again gives its number.
Status name_files(EngineState& state, Trace& trace) {
  const Configuration& chosen = state.chosen;
  const auto name = [&](const std::string& file, std::optional<uint32_t> layer) -> Status {
    FN_ASSIGN_OR_RETURN(const uint32_t number, state.reader->open(chosen.package.path_of(file)));
    trace.name_file(number, file, layer);
    return {};
  };
  const bool naive = !state.naive.empty();
  for (uint32_t layer = 0; layer < chosen.manifest().model.layers; ++layer) {
    const FfnLayerFiles& files = chosen.ffn_variant().layers[layer];
    for (const std::vector<std::string>* shards : files.parts()) {
      for (const std::string& shard : *shards) FN_RETURN_IF_ERROR(name(shard, layer));
    }
    if (naive) FN_RETURN_IF_ERROR(name(chosen.attention_facts().layers[layer], layer));
  }
  if (naive) FN_RETURN_IF_ERROR(name(chosen.attention_facts().head, {}));
  return name(chosen.manifest().embedding.file, {});
}

}  // namespace

Engine::Engine(std::unique_ptr<EngineState> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Result<Budget> Engine::budget(const Options& options) {
  FN_ASSIGN_OR_RETURN(const Configuration chosen, configure(options));
  return chosen.budget;
}

Result<std::unique_ptr<Engine>> Engine::load(const Options& options, Trace* trace) {
  FN_ASSIGN_OR_RETURN(std::unique_ptr<EngineState> state, load_engine(options, trace, load_programs));
  return std::make_unique<Engine>(std::move(state));
}

Result<std::unique_ptr<EngineState>> load_engine(const Options& options, Trace* trace, const AttentionLoader& load) {
  SpanTrack* const spans = trace == nullptr ? nullptr : &trace->compute();
  const ScopedSpan span(spans, SpanKind::kLoad);
  FN_ASSIGN_OR_RETURN(Configuration configuration, configure(options));
  std::unique_ptr<EngineState> draft;
  if (configuration.options.draft) {
    FN_RETURN_IF_ERROR(check_budget(configuration.budget));
    FN_ASSIGN_OR_RETURN(draft, load_engine(draft_options(configuration.options), nullptr, load));
  }
  // Programs first: while they are packed they need more than they keep, and nothing else is in DRAM yet.
  std::unique_ptr<OperatorProfile> profile;
  if (options.etdump) {
    FN_ASSIGN_OR_RETURN(profile, OperatorProfile::create(*options.etdump));
  }
  FN_ASSIGN_OR_RETURN(LoadedAttention attention, load_attention(options, configuration, profile.get(), load));
  if (profile) configuration.warnings.emplace_back("etdump slows the run down and takes memory beside the budget");
  if (trace != nullptr) configuration.warnings.emplace_back("the trace takes memory beside the budget");

  auto state = std::make_unique<EngineState>(std::move(configuration));
  state->profile = std::move(profile);
  state->attention = std::move(attention.programs);
  state->draft = std::move(draft);
  const Configuration& chosen = state->chosen;
  state->reader = make_pread_reader({.workers = chosen.options.io_threads, .trace = trace});
  const ReadTuning tuning{chosen.options.read_gap_bytes, chosen.options.max_read_bytes};
  state->queue.emplace(*state->reader, tuning, spans);
  FN_ASSIGN_OR_RETURN(Staging staging, Staging::create(*state->queue, chosen.staging_bytes));
  state->staging.emplace(std::move(staging));
  FN_ASSIGN_OR_RETURN(state->neuron_files, NeuronFiles::open(chosen.package, chosen.ffn_variant(), *state->reader));
  FN_ASSIGN_OR_RETURN(state->embedding, Embedding::open(chosen.package, state->staging->demand[0]));
  if (role_bytes(chosen.budget, "embedding") > 0) FN_RETURN_IF_ERROR(state->embedding->load(chosen.package));
  if (chosen.options.residency == Residency::kNaive) {
    FN_ASSIGN_OR_RETURN(state->naive, open_naive(chosen, *state->staging));
  }
  if (trace != nullptr) FN_RETURN_IF_ERROR(name_files(*state, *trace));
  FN_RETURN_IF_ERROR(read_ffn_weights(chosen.package, state->weights));
  if (*chosen.options.predictor == PredictorKind::kLowRank) {
    FN_ASSIGN_OR_RETURN(state->predictor, load_lowrank_predictor(chosen.package, state->pool));
  } else if (*chosen.options.predictor == PredictorKind::kOracle) {
    FN_ASSIGN_OR_RETURN(state->predictor, load_oracle_predictor(chosen.package, chosen.ffn_variant(), state->pool));
  }

  const ModelFacts& model = chosen.manifest().model;
  state->facts = {chosen.manifest().name,
                  model.layers,
                  model.vocab_size,
                  model.max_context,
                  model.eos_token_ids,
                  state->reader->block_bytes(),
                  state->reader->buffered_reason(),
                  chosen.warnings,
                  chosen.backend_why,
                  attention.load_us,
                  attention.loaded_bytes,
                  {}};
  if (chosen.attention_facts().is_npu()) state->facts.kv_in_place = state->attention->kv_memory() != nullptr;
  return state;
}

Status Engine::write_profile(const std::string& phase) {
  return state_->profile ? state_->profile->write(phase) : Status();
}

const Options& Engine::settings() const { return state_->chosen.options; }
const Budget& Engine::budget() const { return state_->chosen.budget; }
Budget Engine::budget_of(int64_t ram_bytes) const { return split_ram(state_->chosen, ram_bytes); }
const EngineFacts& Engine::facts() const { return state_->facts; }

Result<std::unique_ptr<Session>> Engine::new_session() {
  FN_ASSIGN_OR_RETURN(std::unique_ptr<SessionState> state, make_session(*state_));
  return std::make_unique<Session>(std::move(state));
}

Result<std::unique_ptr<SessionState>> make_session(EngineState& engine) {
  const ScopedSpan span(engine.queue->spans(), SpanKind::kLoad);
  const Configuration& chosen = engine.chosen;
  const ModelFacts& model = chosen.manifest().model;
  auto state = std::make_unique<SessionState>(engine);
  FN_ASSIGN_OR_RETURN(
      state->kv, KvCache::create(model.layers, chosen.cache_rows(), chosen.kv_row(), engine.attention->kv_memory()));
  FfnStageOptions ffn;
  ffn.read_all = chosen.options.residency == Residency::kNaive;
  ffn.keep_misses = chosen.options.residency == Residency::kCached && engine.predictor != nullptr;
  ffn.overlap = chosen.options.overlap;
  ffn.gate_first = chosen.options.gate_first;
  ffn.window = chosen.options.window;
  ffn.caches = chosen.caches;
  FN_ASSIGN_OR_RETURN(state->ffn, FfnStage::create(engine.weights, *engine.neuron_files, *engine.staging, engine.pool,
                                                   engine.attention->max_chunk(), ffn));
  state->decoder.emplace(DecoderParts{.model = model,
                                      .pool = engine.pool,
                                      .queue = *engine.queue,
                                      .embedding = *engine.embedding,
                                      .attention = *engine.attention,
                                      .kv = *state->kv,
                                      .predictor = engine.predictor.get(),
                                      .ffn = *state->ffn,
                                      .naive = engine.naive.empty() ? nullptr : &engine.naive});
  state->logits.resize(model.vocab_size);
  state->window_union_sum.resize(model.layers);
  if (engine.draft) {
    FN_ASSIGN_OR_RETURN(state->draft, make_session(*engine.draft));
    state->drafter.emplace(*state->draft->decoder, *state->draft->ffn, model.vocab_size);
  }
  return state;
}

}  // namespace flashneuron
