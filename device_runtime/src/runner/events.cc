#include "runner/events.h"

#include <unistd.h>

#include "kernels/kernels.h"

namespace flashneuron {
namespace {

void put_counters(Json& json, const Counters& counters) {
  json["wall_us"] = counters.wall_us;
  json["io_us"] = counters.io_us;
  json["stall_us"] = counters.stall_us;
  json["memory_us"] = counters.memory_us;
  json["predictor_us"] = counters.predictor_us;
  json["attention_us"] = counters.attention_us;
  json["ffn_us"] = counters.ffn_us;
  json["head_us"] = counters.head_us;
  json["draft_us"] = counters.draft_us;
  json["bytes_wanted"] = counters.bytes_wanted;
  json["bytes_read"] = counters.bytes_read;
  json["requests"] = counters.requests;
  json["selected"] = counters.selected;
  json["fired"] = counters.fired;
  json["hits"] = counters.hits;
  json["misses"] = counters.misses;
  json["early"] = counters.early;
  json["early_used"] = counters.early_used;
}

const char* finish_name(Finish finish) {
  switch (finish) {
    case Finish::kEos:
      return "eos";
    case Finish::kLength:
      return "length";
    case Finish::kStopped:
      return "stopped";
  }
  return "";
}

Json settings_json(const Engine& engine, const Keys& sampling) {
  Json settings = Json::object();
  for (const auto& [key, value] : settings_of(engine.settings())) settings[key] = value;
  for (const auto& [key, value] : sampling) settings[key] = value;
  return settings;
}

}  // namespace

Json version_event() {
  return {{"event", "version"},
          {"version", FLASHNEURON_VERSION},
          {"build", std::string("C++ ") + __VERSION__ + ", kernels " + kernels::target_name()},
          {"page_bytes", sysconf(_SC_PAGESIZE)}};
}

Json hash_event(const std::string& path, uint64_t bytes, const std::string& sha256) {
  return {{"event", "hash"}, {"path", path}, {"bytes", bytes}, {"sha256", sha256}};
}

Json waiting_event() { return {{"event", "waiting"}}; }

Json budget_json(const Budget& budget) {
  Json roles = Json::array();
  for (const BudgetRole& role : budget.roles) roles.push_back({{"role", role.name}, {"bytes", role.bytes}});
  Json json = {
      {"roles", roles}, {"minimum_bytes", budget.minimum_bytes}, {"all_resident_bytes", budget.all_resident_bytes}};
  if (budget.ram_bytes) json["ram_bytes"] = *budget.ram_bytes;
  return json;
}

Json ready_event(const Engine& engine, const Keys& sampling, int64_t load_us) {
  const EngineFacts& facts = engine.facts();
  Json json = {{"event", "ready"},
               {"settings", settings_json(engine, sampling)},
               {"budget", budget_json(engine.budget())},
               {"load_us", load_us},
               {"direct_io", !facts.buffered_reason.has_value()},
               {"block_bytes", facts.block_bytes},
               {"attention_load_us", facts.attention_load_us},
               {"attention_loaded_bytes", facts.attention_loaded_bytes},
               {"warnings", facts.warnings}};
  if (!facts.backend_why.empty()) json["backend_why"] = facts.backend_why;
  if (facts.buffered_reason) json["direct_io_why"] = *facts.buffered_reason;
  if (facts.kv_in_place) json["kv_in_place"] = *facts.kv_in_place;
  return json;
}

Json replay_event(const Replay& replay, uint32_t block_bytes) {
  Json settings = Json::object();
  for (const auto& [key, value] : settings_of(replay.settings)) settings[key] = value;
  Json layers = Json::array();
  for (size_t layer = 0; layer < replay.layers.size(); ++layer) {
    const LayerReplay& found = replay.layers[layer];
    const Counters& counters = found.all;
    const Counters& early = found.early;
    layers.push_back({{"cache_rows", replay.capacity_rows[layer]},
                      {"selected", counters.selected},
                      {"hits", counters.hits},
                      {"misses", counters.misses},
                      {"early", counters.early},
                      {"early_used", counters.early_used},
                      {"rounds", found.demand_rounds.count},
                      {"longest_bytes", found.demand_rounds.longest_bytes},
                      {"early_rounds", found.early_rounds.count},
                      {"early_longest_bytes", found.early_rounds.longest_bytes},
                      {"early_requests", early.requests},
                      {"early_bytes_read", early.bytes_read},
                      {"requests", counters.requests},
                      {"bytes_wanted", counters.bytes_wanted},
                      {"bytes_read", counters.bytes_read}});
  }
  Json json = {{"event", "replay"},
               {"settings", settings},
               {"block_bytes", block_bytes},
               {"tokens", replay.tokens},
               {"layers", layers}};
  if (replay.budget) json["budget"] = budget_json(*replay.budget);
  return json;
}

Json prefill_event(int64_t tokens, const Counters& counters) {
  Json json = {{"event", "prefill"}, {"tokens", tokens}};
  put_counters(json, counters);
  return json;
}

Json token_event(const TokenEvent& token, std::optional<int64_t> rss_bytes) {
  Json json = {{"event", "token"}, {"index", token.index}, {"id", token.id}};
  put_counters(json, token.counters);
  if (rss_bytes) json["rss_bytes"] = *rss_bytes;
  return json;
}

Json budget_change_event(int64_t index, const BudgetChange& change, int64_t rss_bytes) {
  return {{"event", "budget_change"},        {"index", index},
          {"ram_bytes", change.ram_bytes},   {"neurons_bytes", change.neurons_bytes},
          {"cache_rows", change.cache_rows}, {"freed_us", change.took_us},
          {"rss_bytes", rss_bytes}};
}

Json step_event(int64_t index, const Counters& counters) {
  Json json = {{"event", "step"}, {"index", index}};
  put_counters(json, counters);
  return json;
}

Json selection_json(const SelectionShares& shares) {
  return {{"tokens", shares.tokens}, {"selected", shares.selected}, {"united", shares.united}, {"fresh", shares.fresh}};
}

Json score_event(int64_t index, const Score& score) {
  return {{"event", "score"}, {"index", index}, {"tokens", score.tokens}, {"nll", score.nll}};
}

Json totals_json(const Counters& totals, const std::vector<LayerStats>& layers, const ProcessMemory& memory,
                 const Budget& budget) {
  Json sum = Json::object();
  put_counters(sum, totals);
  Json each = Json::array();
  for (const LayerStats& layer : layers) {
    Json json = {{"window_union_mean", layer.window_union_mean}, {"cache_rows", layer.cache_rows}};
    put_counters(json, layer.counters);
    each.push_back(json);
  }
  Json json = {{"totals", sum},
               {"layers", each},
               {"memory",
                {{"peak_rss_bytes", memory.peak_rss_bytes},
                 {"rss_anon_bytes", memory.rss_anon_bytes},
                 {"vm_swap_bytes", memory.vm_swap_bytes},
                 {"major_faults", memory.major_faults}}}};
  if (budget.ram_bytes) json["memory"]["ram_bytes"] = *budget.ram_bytes;
  return json;
}

Json generation_event(const Generation& done, const ProcessMemory& memory, const Budget& budget) {
  Json json = {{"event", "result"},
               {"finish", finish_name(done.finish)},
               {"token_ids", done.token_ids},
               {"tokens", done.token_ids.size()},
               {"decode_steps", done.decode_steps}};
  if (done.speculation) {
    json["rounds"] = done.speculation->rounds;
    json["drafted"] = done.speculation->drafted;
    json["accepted"] = done.speculation->accepted;
  }
  json.update(totals_json(done.totals, done.layers, memory, budget));
  return json;
}

Json trace_json(const Engine& engine, const Keys& sampling) {
  return {{"runner", FLASHNEURON_VERSION},
          {"package", engine.facts().package_name},
          {"settings", settings_json(engine, sampling)}};
}

Json error_event(const Status& status, Json detail) {
  return {{"event", "error"},
          {"code", status_code_name(status.code())},
          {"message", status.message()},
          {"detail", std::move(detail)}};
}

}  // namespace flashneuron
