// A draft changes no token, whatever it says; through Session, with attention that needs no programs.
#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "attention/fake_attention.h"
#include "engine/engine_state.h"
#include "engine/memory_budget.h"
#include "flashneuron/engine.h"
#include "support/tiny_package.h"

namespace flashneuron {
namespace {

using testing::TinyPackage;
using testing::TinyPredictor;

const std::vector<int32_t> kPrompt{1, 7, 30, 4, 4, 9, 18, 5};

Result<std::unique_ptr<AttentionProgram>> fake_attention(const Configuration& chosen, OperatorProfile*) {
  return std::unique_ptr<AttentionProgram>(
      std::make_unique<FakeAttention>(chosen.manifest().model, chosen.attention_facts().max_chunk));
}

struct Outcome {
  Generation done;
  std::vector<TokenEvent> tokens;
};

// `spare_bytes`: for neurons, above what the options need at least at the time of the run; absent: no limit.
Outcome generate(Options options, const Sampling& sampling, std::optional<int64_t> spare_bytes = {}) {
  Outcome outcome;
  if (spare_bytes) options.ram_bytes = Engine::budget(options).value().minimum_bytes + *spare_bytes;
  Result<std::unique_ptr<EngineState>> state = load_engine(options, nullptr, fake_attention);
  EXPECT_TRUE(state.ok()) << state.status().message();
  if (!state.ok()) return outcome;
  Engine engine(std::move(state).value());
  Result<std::unique_ptr<Session>> session = engine.new_session();
  EXPECT_TRUE(session.ok()) << session.status().message();
  if (!session.ok()) return outcome;
  const GenerationListener listener{.on_prefill = {}, .on_token = [&](const TokenEvent& token) {
                                      outcome.tokens.push_back(token);
                                      return true;
                                    }};
  Result<Generation> done = session.value()->generate(kPrompt, sampling, listener);
  EXPECT_TRUE(done.ok()) << done.status().message();
  if (done.ok()) outcome.done = std::move(done).value();
  return outcome;
}

Options options_of(const TinyPackage& files) {
  Options options;
  options.package = files.folder();
  options.threads = 1;
  options.io_threads = 2;
  options.context = 48;
  return options;
}

Options with_draft(Options options, const TinyPackage& draft, uint32_t tokens) {
  options.draft = draft.folder();
  options.draft_tokens = tokens;
  return options;
}

std::vector<int32_t> ids_of(const std::vector<TokenEvent>& tokens) {
  std::vector<int32_t> ids;
  for (const TokenEvent& token : tokens) ids.push_back(token.id);
  return ids;
}

// What a run says of itself must fit together, with a draft as without.
void expect_consistent(const Outcome& outcome, const std::string& what) {
  const Generation& done = outcome.done;
  EXPECT_EQ(ids_of(outcome.tokens), done.token_ids) << what;
  Counters sum;
  for (size_t i = 0; i < outcome.tokens.size(); ++i) {
    const Counters& counters = outcome.tokens[i].counters;
    EXPECT_EQ(outcome.tokens[i].index, static_cast<int64_t>(i));
    EXPECT_EQ(counters.selected, counters.hits + counters.misses);
    if (i > 0) sum += counters;
  }
  const int64_t ended = done.finish == Finish::kEos ? 1 : 0;
  EXPECT_EQ(done.decode_steps, static_cast<int64_t>(done.token_ids.size()) - 1 + ended) << what;
  if (ended == 0) {
    EXPECT_EQ(sum.wall_us, done.totals.wall_us) << what;
    EXPECT_EQ(sum.bytes_read, done.totals.bytes_read) << what;
    EXPECT_EQ(sum.selected, done.totals.selected) << what;
    EXPECT_EQ(sum.draft_us, done.totals.draft_us) << what;
  }
  if (!done.speculation) return;
  EXPECT_LE(done.speculation->accepted, done.speculation->drafted) << what;
  EXPECT_LE(done.decode_steps - 1, done.speculation->rounds + done.speculation->accepted) << what;
}

void expect_same(const Options& options, const TinyPackage& draft, const Sampling& sampling, const std::string& what,
                 std::optional<int64_t> spare_bytes = {}) {
  const Outcome alone = generate(options, sampling, spare_bytes);
  expect_consistent(alone, what);
  for (const uint32_t tokens : {1u, 4u, 7u}) {
    const Outcome found = generate(with_draft(options, draft, tokens), sampling, spare_bytes);
    EXPECT_EQ(found.done.token_ids, alone.done.token_ids) << what << ", " << tokens << " drafted";
    EXPECT_EQ(found.done.finish, alone.done.finish) << what;
    expect_consistent(found, what);
  }
}

const Sampling kGreedy{.max_new_tokens = 24, .ignore_eos = true};
const Sampling kWarm{.max_new_tokens = 24, .ignore_eos = true, .temperature = 0.8f, .seed = 3};

class SpeculationTokens : public ::testing::TestWithParam<Residency> {};

std::string name_of_residency(const ::testing::TestParamInfo<Residency>& info) {
  constexpr const char* kNames[] = {"Naive", "Hybrid", "Cached"};
  return kNames[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Residencies, SpeculationTokens,
                         ::testing::Values(Residency::kNaive, Residency::kHybrid, Residency::kCached),
                         name_of_residency);

TEST_P(SpeculationTokens, AreThoseWithoutADraft) {
  const TinyPackage files({.layers = 3, .predictor = TinyPredictor::kRandom});
  const TinyPackage coarse({.layers = 3, .dtype = DType::kInt4, .predictor = TinyPredictor::kRandom});
  const TinyPackage other({.layers = 1, .hidden_size = 24, .ffn_size = 64, .seed = 9});
  const std::vector<std::pair<std::string, const TinyPackage*>> drafts = {
      {"itself", &files}, {"int4", &coarse}, {"a stranger", &other}};
  for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kOracle, PredictorKind::kLowRank}) {
    for (const auto& [name, draft] : drafts) {
      Options options = options_of(files);
      options.residency = GetParam();
      options.predictor = predictor;
      options.overlap = draft != &coarse;
      options.kv = draft == &other ? KvType::kInt8 : KvType::kFp16;
      const std::string what = name + ", predictor " + std::to_string(static_cast<int>(predictor));
      expect_same(options, *draft, kGreedy, what);
      expect_same(options, *draft, kWarm, what + ", warm");
    }
  }
}

TEST(Speculation, GivesTheSameTokensWhereNeuronsAreEvicted) {
  // Its neurons take 3 MiB.
  const TinyPackage files({.layers = 3,
                           .hidden_size = 64,
                           .ffn_size = 4096,
                           .split = false,
                           .neurons_per_shard = 4096,
                           .predictor = TinyPredictor::kRandom});
  const TinyPackage coarse(
      {.layers = 2, .hidden_size = 64, .dtype = DType::kInt4, .predictor = TinyPredictor::kRandom});
  for (const TinyPackage* draft : {&files, &coarse}) {
    for (const std::optional<uint32_t> window : {std::optional<uint32_t>(), std::optional<uint32_t>(2)}) {
      Options options = options_of(files);
      options.window = window;
      constexpr int64_t kSpare = 2 << 20;
      const Outcome found = generate(with_draft(options, *draft, 4), kWarm, kSpare);
      EXPECT_GT(found.done.totals.misses, 0);
      EXPECT_GT(found.done.totals.hits, 0);
      expect_same(options, *draft, kWarm, window ? "a window" : "no window", kSpare);
    }
  }
}

TEST(Speculation, AcceptsAllOfItsOwnAndAlmostNothingOfAStranger) {
  const TinyPackage files({.predictor = TinyPredictor::kRandom});
  const TinyPackage other({.layers = 1, .hidden_size = 24, .ffn_size = 64, .seed = 9});
  const Outcome own = generate(with_draft(options_of(files), files, 4), {.max_new_tokens = 24, .ignore_eos = true});
  ASSERT_TRUE(own.done.speculation);
  EXPECT_EQ(own.done.speculation->accepted, own.done.speculation->drafted);
  EXPECT_EQ(own.done.speculation->rounds, 5) << "23 tokens, 5 a round";
  const Outcome strange = generate(with_draft(options_of(files), other, 4), kWarm);
  ASSERT_TRUE(strange.done.speculation);
  EXPECT_LT(4 * strange.done.speculation->accepted, strange.done.speculation->drafted);
  EXPECT_FALSE(generate(options_of(files), kGreedy).done.speculation);
}

TEST(Speculation, ReadsLessFromFlash) {
  const TinyPackage files({.layers = 3, .predictor = TinyPredictor::kRandom});
  Options options = options_of(files);
  options.residency = Residency::kHybrid;
  const Counters alone = generate(options, kGreedy).done.totals;
  const Counters drafted = generate(with_draft(options, files, 4), kGreedy).done.totals;
  EXPECT_EQ(drafted.selected, alone.selected) << "all drafts are accepted";
  EXPECT_LT(drafted.bytes_read, alone.bytes_read);
  EXPECT_GT(drafted.draft_us, 0);
  EXPECT_EQ(alone.draft_us, 0);
}

TEST(Speculation, EndsWhereItEndsWithoutADraft) {
  const TinyPackage files({.predictor = TinyPredictor::kRandom});
  int ended = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const Sampling sampling{.max_new_tokens = 30, .temperature = 3.0f, .seed = seed};
    expect_same(options_of(files), files, sampling, "seed " + std::to_string(seed));
    ended += generate(options_of(files), sampling).done.finish == Finish::kEos ? 1 : 0;
  }
  EXPECT_GT(ended, 2);
  for (int64_t length = 1; length < 8; ++length) {
    expect_same(options_of(files), files, {.max_new_tokens = length, .ignore_eos = true},
                std::to_string(length) + " tokens");
  }
  Options short_context = options_of(files);
  for (int64_t context = 8; context < 16; ++context) {
    short_context.context = context;
    expect_same(short_context, files, kGreedy, "a context of " + std::to_string(context));
  }
}

TEST(Speculation, StopsWhenItIsTold) {
  const TinyPackage files;
  Engine engine(load_engine(with_draft(options_of(files), files, 4), nullptr, fake_attention).value());
  const std::unique_ptr<Session> session = engine.new_session().value();
  int64_t seen = 0;
  const GenerationListener listener{.on_prefill = {}, .on_token = [&](const TokenEvent&) { return ++seen < 4; }};
  const Generation first = session->generate(kPrompt, kGreedy, listener).value();
  EXPECT_EQ(first.finish, Finish::kStopped);
  EXPECT_EQ(first.token_ids.size(), 4u);
  const std::vector<int32_t> again = session->generate(kPrompt, kGreedy, {}).value().token_ids;
  EXPECT_EQ(again, generate(options_of(files), kGreedy).done.token_ids) << "a session starts over";
}

TEST(Speculation, TheDraftIsInTheBudget) {
  const TinyPackage files, draft({.layers = 1, .hidden_size = 24, .ffn_size = 64});
  const Options options = options_of(files);
  Options of_draft = options;
  of_draft.package = draft.folder();
  const Budget alone = Engine::budget(of_draft).value();
  const Budget without = Engine::budget(options).value();
  const Budget with = Engine::budget(with_draft(options, draft, 4)).value();
  EXPECT_EQ(role_bytes(with, "draft"), alone.all_resident_bytes - role_bytes(alone, "process"));
  EXPECT_EQ(role_bytes(without, "draft"), 0);
  EXPECT_GE(with.minimum_bytes, without.minimum_bytes + role_bytes(with, "draft"));
  Options small = with_draft(options, draft, 4);
  small.ram_bytes = with.minimum_bytes - role_bytes(with, "draft");
  EXPECT_EQ(load_engine(small, nullptr, fake_attention).status().code(), StatusCode::kBudgetTooSmall);
}

void expect_refused(const Options& options, const std::string& says) {
  const Result<Budget> budget = Engine::budget(options);
  EXPECT_EQ(budget.status().code(), StatusCode::kUnsupported);
  EXPECT_NE(budget.status().message().find(says), std::string::npos) << budget.status().message();
}

TEST(Speculation, RefusesWhatDoesNotFitTogether) {
  const TinyPackage files({.rule = {Activation::kRelu, true, ThresholdOn::kGate, 0}});
  const TinyPackage stranger({.vocab_size = 33}), brief({.max_context = 40});
  Options options = with_draft(options_of(files), files, 4);
  EXPECT_TRUE(Engine::budget(options).ok());
  expect_refused(with_draft(options, stranger, 4), "33 tokens, the package's 32");
  expect_refused(with_draft(options, files, 8), "at most 7");
  options.gate_first = true;
  expect_refused(options, "gate_first");
  options.gate_first = false;
  options.backend = "qnn";
  expect_refused(options, "backend=qnn");
  const Status too_long = Engine::budget(with_draft(options_of(files), brief, 4)).status();
  EXPECT_EQ(too_long.code(), StatusCode::kBadInput);
  EXPECT_NE(too_long.message().find("the draft: context is 48"), std::string::npos) << too_long.message();
}

}  // namespace
}  // namespace flashneuron
