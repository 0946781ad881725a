// The runner's output: one JSON object a line, as PROTOCOL.md defines them. Pure: structs in, JSON out.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/replay.h"
#include "flashneuron/engine.h"
#include "flashneuron/session.h"
#include "flashneuron/stats.h"
#include "runner/arguments.h"
#include "telemetry/process_memory.h"

namespace flashneuron {

using Json = nlohmann::ordered_json;

Json version_event();
Json hash_event(const std::string& path, uint64_t bytes, const std::string& sha256);
Json waiting_event();
Json replay_event(const Replay& replay, uint32_t block_bytes);
Json budget_json(const Budget& budget);
Json ready_event(const Engine& engine, const Keys& sampling, int64_t load_us);
Json prefill_event(int64_t tokens, const Counters& counters);
// `rss_bytes`: of the process, where the budget may change.
Json token_event(const TokenEvent& token, std::optional<int64_t> rss_bytes);
Json budget_change_event(int64_t index, const BudgetChange& change, int64_t rss_bytes);
Json step_event(int64_t index, const Counters& counters);
Json selection_json(const SelectionShares& shares);
Json score_event(int64_t index, const Score& score);
Json totals_json(const Counters& totals, const std::vector<LayerStats>& layers, const ProcessMemory& memory,
                 const Budget& budget);
// `budget`: the largest that was in force.
Json generation_event(const Generation& done, const ProcessMemory& memory, const Budget& budget);
// What a trace says of its run.
Json trace_json(const Engine& engine, const Keys& sampling);
Json error_event(const Status& status, Json detail);

}  // namespace flashneuron
