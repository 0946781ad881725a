// The runner's output: one JSON object a line, as PROTOCOL.md defines them. Pure: structs in, JSON out.
#pragma once

#include <nlohmann/json.hpp>
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
Json token_event(const TokenEvent& token);
Json step_event(int64_t index, const Counters& counters);
Json selection_json(const SelectionShares& shares);
Json score_event(int64_t index, const Score& score);
Json totals_json(const Counters& totals, const std::vector<LayerStats>& layers, const ProcessMemory& memory,
                 const Budget& budget);
Json generation_event(const Generation& done, const ProcessMemory& memory, const Budget& budget);
// What a trace says of its run.
Json trace_json(const Engine& engine, const Keys& sampling);
Json error_event(const Status& status, Json detail);

}  // namespace flashneuron
