#include "runner/arguments.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace flashneuron {
namespace {

const std::vector<std::string> kSettings = {"package", "store",      "ram",        "residency", "predictor",
                                            "window",  "layout",     "hot",        "order",     "kv",
                                            "backend", "threads",    "io_threads", "read_gap",  "max_read",
                                            "overlap", "gate_first", "context",    "soc",       "npu_libraries"};
const std::vector<std::string> kDraft = {"draft", "draft_tokens"};
const std::vector<std::string> kSampling = {"max_new_tokens", "ignore_eos", "temperature", "top_k", "top_p", "seed"};

struct Verb {
  std::string_view name;
  std::vector<std::string> keys;
  std::vector<std::string> required;
};

std::vector<Verb> verbs() {
  std::vector<std::string> generate = kSettings;
  generate.insert(generate.end(), kSampling.begin(), kSampling.end());
  generate.insert(generate.end(), kDraft.begin(), kDraft.end());
  generate.insert(generate.end(), {"ram_at", "follow_memory", "etdump", "trace"});
  std::vector<std::string> budget = kSettings;
  budget.insert(budget.end(), kDraft.begin(), kDraft.end());
  std::vector<std::string> score = kSettings;
  score.insert(score.end(), {"uncounted", "steps"});
  std::vector<std::string> replay = kSettings;
  replay.insert(replay.end(), {"activations", "block", "uncounted", "record_bytes", "rows"});
  return {{"version", {}, {}},
          {"hash", {"path"}, {"version"}},
          {"hash-arriving", {}, {"version"}},
          {"probe", {"folder", "size", "point_ms", "cpu_folder"}, {"version", "folder"}},
          {"budget", budget, {"version", "package"}},
          {"replay", replay, {"version"}},
          {"generate", generate, {"version", "package"}},
          {"score", score, {"version", "package"}}};
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Status usage(std::string message) { return {StatusCode::kUsage, std::move(message)}; }

Status refuse(const std::string& key, const std::string& value, const std::string& takes) {
  return usage(key + "=" + value + " is not valid; " + key + " takes " + takes);
}

// Each reader leaves `out` alone if the key is absent.
template <typename Number>
Status read_number(const Keys& keys, const std::string& key, Number low, Number high, const std::string& takes,
                   Number& out) {
  const auto found = keys.find(key);
  if (found == keys.end()) return {};
  const std::string& text = found->second;
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // The negated comparison refuses NaN too.
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= low && value <= high)) {
    return refuse(key, text, takes);
  }
  out = value;
  return {};
}

template <typename Number>
Status read_number(const Keys& keys, const std::string& key, Number low, Number high, const std::string& takes,
                   std::optional<Number>& out) {
  if (!keys.contains(key)) return {};
  Number value{};
  FN_RETURN_IF_ERROR(read_number(keys, key, low, high, takes, value));
  out = value;
  return {};
}

template <typename Enum>
using Names = std::vector<std::pair<std::string_view, Enum>>;

const Names<Residency> kResidencies = {
    {"naive", Residency::kNaive}, {"hybrid", Residency::kHybrid}, {"cached", Residency::kCached}};
const Names<PredictorKind> kPredictors = {
    {"none", PredictorKind::kNone}, {"lowrank", PredictorKind::kLowRank}, {"oracle", PredictorKind::kOracle}};
const Names<Layout> kLayouts = {{"bundled", Layout::kBundled}, {"split", Layout::kSplit}};
const Names<bool> kSwitch = {{"on", true}, {"off", false}};
const Names<Order> kOrders = {{"none", Order::kNone}, {"coactivation", Order::kCoactivation}};
const Names<KvType> kKvTypes = {{"fp32", KvType::kFp32}, {"fp16", KvType::kFp16}, {"int8", KvType::kInt8}};

template <typename Enum, typename Out>
Status read_name(const Keys& keys, const std::string& key, const Names<Enum>& names, Out& out) {
  const auto found = keys.find(key);
  if (found == keys.end()) return {};
  std::string takes;
  for (const auto& [name, value] : names) {
    if (name == found->second) {
      out = value;
      return {};
    }
    takes += (takes.empty() ? "" : ", ") + std::string(name);
  }
  return refuse(key, found->second, takes);
}

// The shortest text that reads back as the same number.
std::string number_text(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

template <typename Enum>
std::string name_of(const Names<Enum>& names, Enum value) {
  for (const auto& [name, each] : names) {
    if (each == value) return std::string(name);
  }
  return {};
}

}  // namespace

Result<Arguments> parse_arguments(std::span<const char* const> words) {
  if (words.empty()) return usage("no verb; give version, hash, probe, budget, replay, generate or score");
  const std::vector<Verb> known = verbs();
  const std::string name = words.front();
  const auto verb = std::find_if(known.begin(), known.end(), [&](const Verb& each) { return each.name == name; });
  if (verb == known.end())
    return usage("unknown verb '" + name + "'; give version, hash, probe, budget, replay, generate or score");
  Arguments arguments{name, {}};
  for (const std::string word : words.subspan(1)) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) return usage("'" + word + "' is not key=value");
    const std::string key = word.substr(0, equals);
    if (key != "version" && !contains(verb->keys, key)) return usage(name + " does not take the key '" + key + "'");
    if (!arguments.keys.emplace(key, word.substr(equals + 1)).second)
      return usage("the key '" + key + "' is given twice");
  }
  for (const std::string& key : verb->required) {
    if (!arguments.keys.contains(key)) return usage(name + " needs the key '" + key + "'");
  }
  return arguments;
}

Result<Options> parse_options(const Keys& keys) {
  Options options;
  if (const auto found = keys.find("package"); found != keys.end()) options.package = found->second;
  if (const auto found = keys.find("store"); found != keys.end()) options.store = found->second;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  FN_RETURN_IF_ERROR(read_number<int64_t>(keys, "ram", 1, kMost, "bytes, at least 1", options.ram_bytes));
  FN_RETURN_IF_ERROR(read_name(keys, "residency", kResidencies, options.residency));
  FN_RETURN_IF_ERROR(read_name(keys, "predictor", kPredictors, options.predictor));
  if (const auto found = keys.find("window"); found == keys.end() || found->second != "auto") {
    FN_RETURN_IF_ERROR(
        read_number<uint32_t>(keys, "window", 1, 1u << 20, "auto or a number of tokens from 1", options.window));
  }
  if (const auto found = keys.find("hot"); found != keys.end() && found->second == "off") {
    options.hot = 0.0;
  } else if (found == keys.end() || found->second != "auto") {
    FN_RETURN_IF_ERROR(read_number<double>(keys, "hot", 0.0, 1.0, "auto, off, or a share from 0 to 1", options.hot));
  }
  FN_RETURN_IF_ERROR(read_name(keys, "layout", kLayouts, options.layout));
  FN_RETURN_IF_ERROR(read_name(keys, "order", kOrders, options.order));
  FN_RETURN_IF_ERROR(read_name(keys, "kv", kKvTypes, options.kv));
  if (const auto found = keys.find("backend"); found != keys.end()) {
    constexpr std::array kBackends = {"auto", "xnnpack", "qnn"};
    if (std::find(kBackends.begin(), kBackends.end(), found->second) == kBackends.end() &&
        !found->second.starts_with("qnn-")) {
      return refuse("backend", found->second, "auto, xnnpack, qnn, qnn-CHIP");
    }
    options.backend = found->second;
  }
  if (const auto found = keys.find("soc"); found != keys.end()) options.soc = found->second;
  if (const auto found = keys.find("npu_libraries"); found != keys.end()) options.npu_libraries = found->second;
  if (const auto found = keys.find("etdump"); found != keys.end()) options.etdump = found->second;
  FN_RETURN_IF_ERROR(read_number<int>(keys, "threads", 1, 256, "1 to 256", options.threads));
  FN_RETURN_IF_ERROR(read_number<int>(keys, "io_threads", 1, 256, "1 to 256", options.io_threads));
  constexpr uint32_t kLongestRead = 64u << 20;
  FN_RETURN_IF_ERROR(
      read_number<uint32_t>(keys, "read_gap", 0, kLongestRead, "bytes, 0 to 67108864", options.read_gap_bytes));
  FN_RETURN_IF_ERROR(
      read_number<uint32_t>(keys, "max_read", 4096, kLongestRead, "bytes, 4096 to 67108864", options.max_read_bytes));
  FN_RETURN_IF_ERROR(read_name(keys, "overlap", kSwitch, options.overlap));
  FN_RETURN_IF_ERROR(read_name(keys, "gate_first", kSwitch, options.gate_first));
  FN_RETURN_IF_ERROR(read_number<int64_t>(keys, "context", 1, kMost, "a number of tokens from 1", options.context));
  if (const auto found = keys.find("draft"); found != keys.end()) options.draft = found->second;
  FN_RETURN_IF_ERROR(
      read_number<uint32_t>(keys, "draft_tokens", 1, 16, "a number of tokens, 1 to 16", options.draft_tokens));
  return options;
}

Result<Sampling> parse_sampling(const Keys& keys) {
  Sampling sampling;
  FN_RETURN_IF_ERROR(read_number<int64_t>(keys, "max_new_tokens", 1, int64_t{1} << 30, "a number of tokens from 1",
                                          sampling.max_new_tokens));
  int ignore_eos = 0;
  FN_RETURN_IF_ERROR(read_number<int>(keys, "ignore_eos", 0, 1, "0 or 1", ignore_eos));
  sampling.ignore_eos = ignore_eos == 1;
  FN_RETURN_IF_ERROR(read_number<float>(keys, "temperature", 0.0f, 100.0f, "0 to 100", sampling.temperature));
  FN_RETURN_IF_ERROR(
      read_number<int32_t>(keys, "top_k", 0, std::numeric_limits<int32_t>::max(), "a number from 0", sampling.top_k));
  FN_RETURN_IF_ERROR(
      read_number<float>(keys, "top_p", std::numeric_limits<float>::min(), 1.0f, "over 0, up to 1", sampling.top_p));
  FN_RETURN_IF_ERROR(
      read_number<uint64_t>(keys, "seed", 0, std::numeric_limits<uint64_t>::max(), "a number from 0", sampling.seed));
  return sampling;
}

Result<BudgetKeys> parse_budget_keys(const Keys& keys) {
  BudgetKeys budget;
  FN_RETURN_IF_ERROR(read_number<int64_t>(keys, "follow_memory", 0, std::numeric_limits<int64_t>::max(),
                                          "bytes to leave free, from 0", budget.follow_memory));
  const auto found = keys.find("ram_at");
  if (found == keys.end()) return budget;
  const std::string takes = "TOKEN:BYTES[,TOKEN:BYTES...], tokens ascending from 1, at least 1 byte";
  const char* at = found->second.data();
  const char* const end = at + found->second.size();
  const auto number = [&](int64_t& value) {
    const auto [rest, error] = std::from_chars(at, end, value);
    at = rest;
    return error == std::errc{};
  };
  for (int64_t before = 0;;) {
    RamAt change;
    if (!number(change.token) || change.token <= before || at == end || *at++ != ':' || !number(change.ram_bytes) ||
        change.ram_bytes < 1) {
      return refuse("ram_at", found->second, takes);
    }
    before = change.token;
    budget.ram_at.push_back(change);
    if (at == end) break;
    if (*at++ != ',') return refuse("ram_at", found->second, takes);
  }
  if (budget.follow_memory) return usage("ram_at and follow_memory both set the budget; give one of them");
  return budget;
}

Result<ScoreKeys> parse_score_keys(const Keys& keys) {
  ScoreKeys score;
  FN_RETURN_IF_ERROR(
      read_number<int64_t>(keys, "uncounted", 0, int64_t{1} << 30, "a number of tokens from 0", score.uncounted));
  FN_RETURN_IF_ERROR(read_name(keys, "steps", kSwitch, score.steps));
  return score;
}

Result<ProbeOptions> parse_probe(const Keys& keys) {
  ProbeOptions options;
  options.folder = keys.at("folder");
  if (const auto found = keys.find("cpu_folder"); found != keys.end()) options.cpu_folder = found->second;
  constexpr uint64_t kLeast = uint64_t{16} << 20;
  constexpr uint64_t kMost = uint64_t{64} << 30;
  FN_RETURN_IF_ERROR(read_number<uint64_t>(keys, "size", kLeast, kMost, "bytes, 2^24 to 2^36", options.size_bytes));
  FN_RETURN_IF_ERROR(read_number<int64_t>(keys, "point_ms", 1, 60000, "milliseconds, 1 to 60000", options.point_ms));
  return options;
}

Result<ReplayKeys> parse_replay(const Keys& keys) {
  ReplayKeys replay;
  constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
  if (const auto found = keys.find("activations"); found != keys.end()) replay.activations = found->second;
  FN_RETURN_IF_ERROR(read_number<uint32_t>(keys, "block", 512, 1u << 20, "bytes, a power of two from 512 to 1048576",
                                           replay.block_bytes));
  if (!std::has_single_bit(replay.block_bytes)) {
    return refuse("block", std::to_string(replay.block_bytes), "bytes, a power of two from 512 to 1048576");
  }
  FN_RETURN_IF_ERROR(read_number<uint32_t>(keys, "uncounted", 0, kMost, "a number of tokens", replay.uncounted));
  FN_RETURN_IF_ERROR(
      read_number<uint32_t>(keys, "record_bytes", 1, 1u << 28, "bytes, 1 to 268435456", replay.record_bytes));
  FN_RETURN_IF_ERROR(read_number<uint64_t>(keys, "rows", 0, uint64_t{1} << 40, "a number of rows", replay.rows));
  if (!keys.contains("package") && !(replay.activations && replay.record_bytes && replay.rows)) {
    return usage("replay needs package, or activations, record_bytes and rows");
  }
  return replay;
}

Keys settings_of(const Options& options) {
  Keys keys;
  if (options.ram_bytes) keys["ram"] = std::to_string(*options.ram_bytes);
  keys["residency"] = name_of(kResidencies, options.residency);
  if (options.predictor) keys["predictor"] = name_of(kPredictors, *options.predictor);
  keys["window"] = options.window ? std::to_string(*options.window) : "auto";
  keys["hot"] = !options.hot ? "auto" : *options.hot == 0 ? "off" : number_text(*options.hot);
  if (options.layout) keys["layout"] = name_of(kLayouts, *options.layout);
  if (options.order) keys["order"] = name_of(kOrders, *options.order);
  keys["kv"] = name_of(kKvTypes, options.kv);
  keys["backend"] = options.backend;
  if (options.soc) keys["soc"] = *options.soc;
  keys["threads"] = std::to_string(options.threads);
  keys["io_threads"] = std::to_string(options.io_threads);
  keys["read_gap"] = std::to_string(options.read_gap_bytes);
  keys["max_read"] = std::to_string(options.max_read_bytes);
  keys["overlap"] = name_of(kSwitch, options.overlap);
  keys["gate_first"] = name_of(kSwitch, options.gate_first);
  if (options.context) keys["context"] = std::to_string(*options.context);
  if (options.draft) {
    keys["draft"] = *options.draft;
    keys["draft_tokens"] = std::to_string(options.draft_tokens);
  }
  return keys;
}

Keys sampling_of(const Keys& keys) {
  Keys sampling;
  for (const char* key :
       {"max_new_tokens", "ignore_eos", "temperature", "top_k", "top_p", "seed", "ram_at", "follow_memory"}) {
    if (const auto found = keys.find(key); found != keys.end()) sampling.insert(*found);
  }
  return sampling;
}

}  // namespace flashneuron
