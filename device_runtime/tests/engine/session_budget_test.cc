// A session's budget that changes while it generates: the same tokens, whatever the schedule.
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "attention/fake_attention.h"
#include "engine/engine_state.h"
#include "engine/memory_budget.h"
#include "support/random.h"
#include "support/tiny_package.h"

namespace flashneuron {
namespace {

using testing::Random;
using testing::TinyPackage;

const std::vector<int32_t> kPrompt{1, 7, 30, 4, 4, 9, 2, 18, 5, 11, 3};
constexpr Sampling kSampling{.max_new_tokens = 30, .ignore_eos = true};

template <typename T>
T must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

std::unique_ptr<Engine> make_engine(const TinyPackage& files, PredictorKind predictor,
                                    Residency residency = Residency::kCached, const TinyPackage* draft = nullptr) {
  Options options;
  options.package = files.folder();
  options.residency = residency;
  options.predictor = predictor;
  options.threads = 2;
  options.context = files.options().max_context;
  if (draft != nullptr) options.draft = draft->folder();
  const auto fake = [&](const Configuration& chosen, OperatorProfile*) -> Result<std::unique_ptr<AttentionProgram>> {
    return std::unique_ptr<AttentionProgram>(
        std::make_unique<FakeAttention>(chosen.manifest().model, files.options().max_chunk));
  };
  return std::make_unique<Engine>(must(load_engine(options, nullptr, fake)));
}

std::vector<int32_t> tokens_of(Session& session, const GenerationListener& listener = {}) {
  return must(session.generate(kPrompt, kSampling, listener)).token_ids;
}

TEST(SessionBudget, RandomChangesChangeNoToken) {
  const TinyPackage files({.predictor = testing::TinyPredictor::kRandom});
  for (const PredictorKind predictor : {PredictorKind::kNone, PredictorKind::kOracle, PredictorKind::kLowRank}) {
    for (const Residency residency : {Residency::kHybrid, Residency::kCached, Residency::kNaive}) {
      if (residency == Residency::kNaive && predictor != PredictorKind::kNone) continue;
      const auto engine = make_engine(files, predictor, residency);
      const auto session = must(engine->new_session());
      const std::vector<int32_t> expected = tokens_of(*session);
      ASSERT_EQ(expected.size(), 30u);
      const Budget all = engine->budget();
      for (uint64_t seed = 0; seed < 8; ++seed) {
        Random random(seed);
        const auto change = [&](const auto&...) {
          if (random.below(3) > 0) return true;
          const auto ram =
              all.minimum_bytes +
              static_cast<int64_t>(random.below(static_cast<uint64_t>(all.all_resident_bytes - all.minimum_bytes)));
          const BudgetChange done = must(session->set_budget(ram));
          EXPECT_EQ(done.ram_bytes, ram);
          EXPECT_EQ(done.neurons_bytes, role_bytes(engine->budget(), "neurons"));
          EXPECT_EQ(engine->budget().ram_bytes, ram);
          EXPECT_LE(done.cache_rows * 192, static_cast<uint64_t>(done.neurons_bytes));
          return true;
        };
        const GenerationListener listener{.on_prefill = change, .on_token = change};
        EXPECT_EQ(tokens_of(*session, listener), expected) << "seed " << seed;
      }
    }
  }
}

TEST(SessionBudget, ChangesWithinARoundOfDraftedTokensChangeNoToken) {
  const TinyPackage files({.predictor = testing::TinyPredictor::kRandom});
  const TinyPackage draft({.hidden_size = 24, .ffn_size = 60, .seed = 5});
  const auto expected = [&] {
    const auto engine = make_engine(files, PredictorKind::kLowRank);
    return tokens_of(*must(engine->new_session()));
  }();
  const auto engine = make_engine(files, PredictorKind::kLowRank, Residency::kCached, &draft);
  const auto session = must(engine->new_session());
  const Budget all = engine->budget();
  EXPECT_GT(role_bytes(all, "draft"), 0);
  const GenerationListener listener{.on_prefill = {}, .on_token = [&](const TokenEvent& token) {
                                      const int64_t spare = (all.all_resident_bytes - all.minimum_bytes) / 9;
                                      const int64_t share = (token.index * 5) % 9;
                                      must(session->set_budget(all.minimum_bytes + share * spare));
                                      return true;
                                    }};
  EXPECT_EQ(tokens_of(*session, listener), expected);
}

TEST(SessionBudget, GivesUpTheEmbeddingTableAndLeavesItOnFlash) {
  const TinyPackage files;
  const auto engine = make_engine(files, PredictorKind::kOracle);
  const auto session = must(engine->new_session());
  const Budget all = engine->budget();
  EXPECT_GT(role_bytes(all, "embedding"), 0);
  const std::vector<int32_t> expected = tokens_of(*session);
  const BudgetChange cut = must(session->set_budget(all.all_resident_bytes - 1));
  EXPECT_EQ(role_bytes(engine->budget(), "embedding"), 0);
  EXPECT_EQ(cut.cache_rows, 400u) << "what the table leaves is enough for every neuron";
  EXPECT_EQ(tokens_of(*session), expected);
  must(session->set_budget(2 * all.all_resident_bytes));
  EXPECT_EQ(role_bytes(engine->budget(), "embedding"), 0);
  EXPECT_EQ(tokens_of(*session), expected);
}

TEST(SessionBudget, OneThatIsTooSmallIsRefusedAndNothingChanges) {
  const TinyPackage files;
  const auto engine = make_engine(files, PredictorKind::kLowRank);
  const auto session = must(engine->new_session());
  const std::vector<int32_t> expected = tokens_of(*session);
  int refused = 0;
  const GenerationListener listener{.on_prefill = {}, .on_token = [&](const TokenEvent&) {
                                      const auto code = session->set_budget(1 << 20).status().code();
                                      refused += code == StatusCode::kBudgetTooSmall ? 1 : 0;
                                      return true;
                                    }};
  EXPECT_EQ(tokens_of(*session, listener), expected);
  EXPECT_EQ(refused, 30);
  EXPECT_FALSE(engine->budget().ram_bytes.has_value());
  EXPECT_EQ(engine->budget_of(1 << 20).minimum_bytes, engine->budget_of(1).minimum_bytes + (1 << 20) / 512);
}

TEST(SessionBudget, AnotherThreadsRequestIsTakenUpAtTheNextToken) {
  const TinyPackage files;
  const auto engine = make_engine(files, PredictorKind::kLowRank);
  const auto session = must(engine->new_session());
  const std::vector<int32_t> expected = tokens_of(*session);
  const int64_t half = (engine->budget().minimum_bytes + engine->budget().all_resident_bytes) / 2;
  std::vector<int64_t> at;  // tokens that were there when a request was answered
  int64_t tokens = 0;
  const GenerationListener listener{.on_prefill = {},
                                    .on_token =
                                        [&](const TokenEvent&) {
                                          ++tokens;
                                          if (tokens == 5 || tokens == 9) {
                                            std::thread([&] {
                                              session->request_budget(2 * half);
                                              session->request_budget(tokens == 5 ? half : 1);
                                            }).join();
                                          }
                                          return true;
                                        },
                                    .on_budget =
                                        [&](const Result<BudgetChange>& change) {
                                          at.push_back(tokens);
                                          EXPECT_EQ(change.ok(), tokens == 5);
                                          EXPECT_EQ(engine->budget().ram_bytes, half);
                                        }};
  EXPECT_EQ(tokens_of(*session, listener), expected);
  EXPECT_EQ(at, (std::vector<int64_t>{5, 9}));
}

}  // namespace
}  // namespace flashneuron
