#include "runner/run.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <istream>
#include <iterator>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "package/sha256.h"
#include "runner/arguments.h"
#include "runner/arrivals.h"
#include "runner/budget_changes.h"
#include "runner/events.h"
#include "runner/probe.h"
#include "runner/trace_file.h"
#include "telemetry/process_memory.h"
#include "telemetry/timer.h"

namespace flashneuron {
namespace {

using Emit = std::function<void(const Json&)>;

Result<std::vector<int32_t>> parse_ids(const std::string& text) {
  std::istringstream words(text);
  std::vector<int32_t> ids;
  for (std::string word; words >> word;) {
    char* end = nullptr;
    const long id = std::strtol(word.c_str(), &end, 10);
    if (*end != '\0' || id < 0 || id > INT32_MAX) {
      return Status(StatusCode::kBadInput, "'" + word + "' on standard input is not a token id");
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

struct Loaded {
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Session> session;
};

// A budget that is too small is explained by the whole table, in `refusal`.
Result<Loaded> load(const Options& options, const Keys& sampling, const Emit& emit, Json& refusal,
                    Trace* trace = nullptr) {
  const int64_t start_us = now_us();
  Result<std::unique_ptr<Engine>> loaded = Engine::load(options, trace);
  if (loaded.status().code() == StatusCode::kBudgetTooSmall) {
    FN_ASSIGN_OR_RETURN(const Budget needed, Engine::budget(options));
    refusal = budget_json(needed);
  }
  FN_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, std::move(loaded));
  FN_ASSIGN_OR_RETURN(std::unique_ptr<Session> session, engine->new_session());
  emit(ready_event(*engine, sampling, now_us() - start_us));
  return Loaded{std::move(engine), std::move(session)};
}

Status hash_one(const std::string& path, const Emit& emit) {
  FN_ASSIGN_OR_RETURN(const std::string sha256, sha256_file(path));
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path, error);
  if (error) return {StatusCode::kIo, "cannot tell the size of " + path + ": " + error.message()};
  emit(hash_event(path, bytes, sha256));
  return {};
}

Status hash(const Keys& keys, std::istream& in, const Emit& emit) {
  if (const auto path = keys.find("path"); path != keys.end()) return hash_one(path->second, emit);
  bool any = false;
  for (std::string path; std::getline(in, path); any = true) FN_RETURN_IF_ERROR(hash_one(path, emit));
  if (!any) return {StatusCode::kBadInput, "nothing to hash; give path=FILE, or one file a line on standard input"};
  return {};
}

// A line: bytes, a space, the path.
Result<Arrival> parse_arrival(const std::string& line) {
  Arrival arrival;
  const char* const end = line.data() + line.size();
  const auto [rest, error] = std::from_chars(line.data(), end, arrival.bytes);
  if (error != std::errc{} || end - rest < 2 || *rest != ' ') {
    return Status(StatusCode::kBadInput, "'" + line + "' on standard input is not a number of bytes and a path");
  }
  arrival.path.assign(rest + 1, end);
  return arrival;
}

Status hash_arriving(std::istream& in, const Emit& emit) {
  using std::chrono::steady_clock;
  std::vector<Arrival> arrivals;
  for (std::string line; std::getline(in, line);) {
    FN_ASSIGN_OR_RETURN(Arrival arrival, parse_arrival(line));
    arrivals.push_back(std::move(arrival));
  }
  if (arrivals.empty()) return {StatusCode::kBadInput, "nothing to hash; give bytes and a path a line"};
  // Said now and then while nothing comes: it ends this process when nobody is there any more to hear it.
  constexpr auto kSayAfter = std::chrono::milliseconds(200);
  steady_clock::time_point said = steady_clock::now();
  const auto say = [&](const Json& event) {
    emit(event);
    said = steady_clock::now();
  };
  return hash_arriving(
      arrivals, {.on_hash = [&](const Arrival& arrival,
                                const std::string& sha256) { say(hash_event(arrival.path, arrival.bytes, sha256)); },
                 .wait =
                     [&] {
                       if (steady_clock::now() - said > kSayAfter) say(waiting_event());
                       std::this_thread::sleep_for(std::chrono::milliseconds(2));
                     }});
}

Status budget(const Keys& keys, const Emit& emit) {
  FN_ASSIGN_OR_RETURN(const Options options, parse_options(keys));
  FN_ASSIGN_OR_RETURN(const Budget budget, Engine::budget(options));
  Json json = {{"event", "budget"}};
  json.update(budget_json(budget));
  emit(json);
  return {};
}

Result<Replay> replay_trace(const Options& options, const ReplayKeys& keys) {
  FN_ASSIGN_OR_RETURN(const ActivationTrace trace, ActivationTrace::open(*keys.activations, *keys.activations));
  FN_ASSIGN_OR_RETURN(const ReplayModel model, model_of_trace(trace, *keys.record_bytes, *keys.rows, options));
  const ReadTuning tuning{options.read_gap_bytes, options.max_read_bytes};
  const uint32_t uncounted = keys.uncounted.value_or(trace.tokens() / 2);
  FN_ASSIGN_OR_RETURN(std::vector<LayerReplay> layers, replay(model, trace, tuning, keys.block_bytes, uncounted));
  return Replay{options, std::nullopt, trace.tokens() - uncounted, std::move(layers), model.capacity_rows};
}

Status replay_verb(const Keys& keys, const Emit& emit, Json& refusal) {
  FN_ASSIGN_OR_RETURN(const Options options, parse_options(keys));
  FN_ASSIGN_OR_RETURN(const ReplayKeys how, parse_replay(keys));
  const Result<Replay> done = options.package.empty()
                                  ? replay_trace(options, how)
                                  : replay_package(options, how.activations, how.block_bytes, how.uncounted);
  if (done.status().code() == StatusCode::kBudgetTooSmall) {
    FN_ASSIGN_OR_RETURN(const Budget needed, Engine::budget(options));
    refusal = budget_json(needed);
  }
  FN_RETURN_IF_ERROR(done.status());
  emit(replay_event(done.value(), how.block_bytes));
  return {};
}

Status generate(const Keys& keys, std::istream& in, const Emit& emit, Json& refusal) {
  FN_ASSIGN_OR_RETURN(Options options, parse_options(keys));
  FN_ASSIGN_OR_RETURN(const Sampling sampling, parse_sampling(keys));
  FN_ASSIGN_OR_RETURN(const BudgetKeys budgets, parse_budget_keys(keys));
  const std::string text(std::istreambuf_iterator<char>(in), {});
  FN_ASSIGN_OR_RETURN(const std::vector<int32_t> prompt, parse_ids(text));
  if (prompt.empty()) return {StatusCode::kBadInput, "the prompt is empty; give token ids on standard input"};
  options.expected_tokens = static_cast<int64_t>(prompt.size()) + sampling.max_new_tokens;
  std::unique_ptr<TraceFile> trace;  // before the engine, which records in it
  if (const auto path = keys.find("trace"); path != keys.end()) {
    FN_ASSIGN_OR_RETURN(trace, TraceFile::create(path->second));
  }
  FN_ASSIGN_OR_RETURN(Loaded loaded,
                      load(options, sampling_of(keys), emit, refusal, trace ? &trace->trace() : nullptr));
  Budget most = loaded.engine->budget();
  Budget refused;
  Result<BudgetChanges> made = BudgetChanges::create(budgets, *loaded.engine, refused);
  if (made.status().code() == StatusCode::kBudgetTooSmall) refusal = budget_json(refused);
  FN_ASSIGN_OR_RETURN(BudgetChanges changes, std::move(made));
  Status changed;
  const auto change_budget = [&](int64_t index) -> Status {
    const std::optional<int64_t> ram_bytes = changes.before(index, now_us());
    if (!ram_bytes) return {};
    FN_ASSIGN_OR_RETURN(const BudgetChange change, loaded.session->set_budget(*ram_bytes));
    if (most.ram_bytes && change.ram_bytes > *most.ram_bytes) most = loaded.engine->budget();
    emit(budget_change_event(index, change, read_rss_bytes()));
    return {};
  };
  const bool changing = changes.any();
  Status profiled;
  const GenerationListener listener{.on_prefill =
                                        [&](int64_t tokens, const Counters& counters) {
                                          emit(prefill_event(tokens, counters));
                                          profiled = loaded.engine->write_profile("prefill");
                                        },
                                    .on_token =
                                        [&](const TokenEvent& token) {
                                          const std::optional<int64_t> rss_bytes =
                                              changing ? std::optional(read_rss_bytes()) : std::nullopt;
                                          emit(token_event(token, rss_bytes));
                                          changed = change_budget(token.index + 1);
                                          return changed.ok();
                                        }};
  FN_ASSIGN_OR_RETURN(const Generation done, loaded.session->generate(prompt, sampling, listener));
  FN_RETURN_IF_ERROR(changed);
  FN_RETURN_IF_ERROR(profiled);
  FN_RETURN_IF_ERROR(loaded.engine->write_profile("decode"));
  const Json result = generation_event(done, read_process_memory(), most);
  if (trace) {
    Json other = trace_json(*loaded.engine, sampling_of(keys));
    loaded.session.reset();  // the trace is whole when all who record in it have ended
    loaded.engine.reset();
    FN_RETURN_IF_ERROR(trace->write(std::move(other)));
  }
  emit(result);
  return {};
}

Status score(const Keys& keys, std::istream& in, const Emit& emit, Json& refusal) {
  FN_ASSIGN_OR_RETURN(Options options, parse_options(keys));
  FN_ASSIGN_OR_RETURN(const ScoreKeys how, parse_score_keys(keys));
  std::vector<std::vector<int32_t>> sequences;
  for (std::string line; std::getline(in, line);) {
    FN_ASSIGN_OR_RETURN(std::vector<int32_t> ids, parse_ids(line));
    if (ids.empty()) continue;
    if (ids.size() < 2) return {StatusCode::kBadInput, "a sequence to score needs at least 2 tokens"};
    options.expected_tokens = std::max(options.expected_tokens.value_or(0), static_cast<int64_t>(ids.size()));
    sequences.push_back(std::move(ids));
  }
  if (sequences.empty()) return {StatusCode::kBadInput, "nothing to score; give one sequence of token ids a line"};
  FN_ASSIGN_OR_RETURN(Loaded loaded, load(options, {}, emit, refusal));
  const Session::StepListener on_step = [&](int64_t step, const Counters& counters) {
    emit(step_event(step, counters));
  };
  Score total;
  for (size_t index = 0; index < sequences.size(); ++index) {
    FN_ASSIGN_OR_RETURN(const Score one,
                        loaded.session->score(sequences[index], how.uncounted, how.steps ? on_step : nullptr));
    emit(score_event(static_cast<int64_t>(index), one));
    total.nll += one.nll;
    total.tokens += one.tokens;
  }
  Json json = {{"event", "result"},
               {"tokens", total.tokens},
               {"nll", total.nll},
               {"decode_steps", loaded.session->decode_steps()},
               {"selection", selection_json(loaded.session->selection())}};
  json.update(
      totals_json(loaded.session->totals(), loaded.session->layers(), read_process_memory(), loaded.engine->budget()));
  emit(json);
  return {};
}

// `detail` is what an error event tells beyond its message.
Status dispatch(const Arguments& arguments, std::istream& in, const Emit& emit, Json& detail) {
  if (const auto version = arguments.keys.find("version");
      version != arguments.keys.end() && version->second != FLASHNEURON_VERSION) {
    return {StatusCode::kVersionMismatch, "the host tool is version " + version->second + ", this runner is " +
                                              FLASHNEURON_VERSION + "; build and push the runner again"};
  }
  if (arguments.verb == "hash") return hash(arguments.keys, in, emit);
  if (arguments.verb == "hash-arriving") return hash_arriving(in, emit);
  if (arguments.verb == "probe") return probe(arguments.keys, emit);
  if (arguments.verb == "budget") return budget(arguments.keys, emit);
  if (arguments.verb == "replay") return replay_verb(arguments.keys, emit, detail);
  if (arguments.verb == "generate") return generate(arguments.keys, in, emit, detail);
  if (arguments.verb == "score") return score(arguments.keys, in, emit, detail);
  emit(version_event());
  return {};
}

}  // namespace

int run_verb(std::span<const char* const> words, std::istream& in, std::ostream& out) {
  bool started = false;  // past the refusals: an event of the work itself was printed
  const Emit emit = [&](const Json& json) {
    started = true;
    out << json.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  };
  Json detail = Json::object();
  const Result<Arguments> arguments = parse_arguments(words);
  const Status status = arguments.ok() ? dispatch(arguments.value(), in, emit, detail) : arguments.status();
  if (status.ok()) return 0;
  const int exit_status = started ? 1 : 2;
  emit(error_event(status, std::move(detail)));
  return exit_status;
}

}  // namespace flashneuron
