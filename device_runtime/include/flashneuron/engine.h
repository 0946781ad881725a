// Engine: a package loaded for one set of options. It makes sessions, which hold what changes while text is generated.
//
//   FN_ASSIGN_OR_RETURN(auto engine, Engine::load(options));
//   FN_ASSIGN_OR_RETURN(auto session, engine->new_session());
//   FN_ASSIGN_OR_RETURN(Generation done, session->generate(prompt_ids, sampling, listener));
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flashneuron/options.h"
#include "flashneuron/session.h"
#include "flashneuron/status.h"

namespace flashneuron {

struct BudgetRole {
  std::string name;  // process, attention, head, predictor, kv, staging, draft (if there is one), neurons, embedding
  int64_t bytes = 0;
};

// One number of DRAM split by role. Without `ram_bytes` everything is resident.
struct Budget {
  std::vector<BudgetRole> roles;
  int64_t minimum_bytes = 0;       // all roles but neurons and embedding
  int64_t all_resident_bytes = 0;  // with every neuron and the embedding in DRAM
  std::optional<int64_t> ram_bytes;
};

struct EngineFacts {
  std::string package_name;
  uint32_t layers = 0;
  uint32_t vocab_size = 0;
  uint32_t max_context = 0;
  std::vector<int32_t> eos_token_ids;
  uint32_t block_bytes = 0;
  std::optional<std::string> buffered_reason;  // why reads are not direct; absent: they are
  std::vector<std::string> warnings;
  std::string backend_why;             // why settings().backend is what it is; empty: the package has no other
  int64_t attention_load_us = 0;       // programs of attention and head
  int64_t attention_loaded_bytes = 0;  // of the process's RSS while they were loaded, as measured
  std::optional<bool> kv_in_place;     // the NPU reads the KV cache where it lies; absent: no NPU
};

struct EngineState;
class Trace;

class Engine {
 public:
  // What `options` would need, whether or not it fits into options.ram_bytes. `options.context` absent: the model's
  // longest. Errors: those of load() but kBudgetTooSmall.
  static Result<Budget> budget(const Options& options);
  // `trace`: to record in, by the engine and its session; it must outlive both, and is read when they are gone. Null:
  // nothing is recorded. Errors: kNotFound, kCorrupt, kNewerFormat, kUnsupported (what the package lacks), kBadInput
  // (an option's value), kBudgetTooSmall, kIo, kOutOfMemory, kInternal.
  static Result<std::unique_ptr<Engine>> load(const Options& options, Trace* trace = nullptr);
  explicit Engine(std::unique_ptr<EngineState> state);  // for load()
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // The options with every choice made.
  const Options& settings() const;
  // In force now: a session may change it.
  const Budget& budget() const;
  // What of `ram_bytes` each role would get from Session::set_budget().
  Budget budget_of(int64_t ram_bytes) const;
  const EngineFacts& facts() const;
  // With options.etdump: what programs ran since the last call, as a part of the profile of that name. Error: kIo.
  Status write_profile(const std::string& phase);

  // One session at a time, since the budget pays for one; the engine must outlive it. Errors: kOutOfMemory, kIo.
  Result<std::unique_ptr<Session>> new_session();

 private:
  std::unique_ptr<EngineState> state_;
};

}  // namespace flashneuron
