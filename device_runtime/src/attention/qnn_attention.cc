// Attention by ExecuTorch's QNN backend: the methods of the package's .pte files behind NpuAttention. All graphs of a
// file share one context of the NPU, which the backend makes with the first method and keeps until the last one goes.
#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/backend/options.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "attention/attention_program.h"
#include "attention/executorch_process.h"
#include "attention/executorch_program.h"
#include "attention/npu_attention.h"
#include "attention/npu_libraries.h"
#include "package/mapped_file.h"

namespace flashneuron {
namespace {

using executorch::aten::ScalarType;

int32_t size(uint32_t value) { return static_cast<int32_t>(value); }

TensorView view(ScalarType type, uint32_t rows, uint32_t columns, const void* data) {
  // ExecuTorch has no read-only tensors; programs do not write to their inputs.
  return {type, {size(rows), size(columns)}, const_cast<void*>(data)};
}

std::string method_name(uint32_t layer, uint32_t tokens, uint32_t context) {
  char text[64];
  std::snprintf(text, sizeof(text), "layer_%03u_t%u_c%u", layer, tokens, context);
  return text;
}

// Of every graph that is loaded later, in cycles of the NPU.
Status profile_npu_operators() {
  executorch::runtime::BackendOptions<1> options;
  // 2: detailed.
  if (options.set_option("qnn_runtime_profile_level", 2) != executorch::runtime::Error::Ok ||
      executorch::runtime::set_option("QnnBackend", options.view()) != executorch::runtime::Error::Ok) {
    return {StatusCode::kUnsupported, "this ExecuTorch's QNN backend records no profile; run without etdump"};
  }
  return {};
}

class QnnGraphs final : public StaticGraphs {
 public:
  QnnGraphs(const ModelFacts& model, uint32_t max_chunk, OperatorProfile* profile)
      : model_(model),
        context_(profile),
        residual_(size_t{max_chunk} * model.hidden_size),
        ffn_input_(residual_.size()),
        k_(size_t{max_chunk} * model.kv_size()),
        v_(k_.size()),
        logits_(model.vocab_size) {}

  Status load(const Package& package, const AttentionFacts& facts, uint32_t context);
  Result<StaticOutputs> run(uint32_t layer, uint32_t tokens, uint32_t context, const StaticCall& call) override;
  Status head(const float* residual, const float* ffn_out, std::span<float> logits) override;

 private:
  struct Key {
    uint32_t layer, tokens, context;
    auto operator<=>(const Key&) const = default;
  };

  std::vector<TensorView> inputs(uint32_t tokens, uint32_t context, const StaticCall& call) const;
  std::vector<TensorView> outputs(uint32_t tokens);

  const ModelFacts model_;
  ProgramContext context_;
  std::vector<float> residual_;   // [max_chunk, hidden], as all of these shared by the graphs
  std::vector<float> ffn_input_;  // [max_chunk, hidden]
  std::vector<float> k_;          // [max_chunk, kv]
  std::vector<float> v_;
  std::vector<float> logits_;  // [vocab]
  std::map<Key, std::unique_ptr<ExecutorchProgram>> graphs_;
  std::unique_ptr<ExecutorchProgram> head_;
};

std::vector<TensorView> QnnGraphs::inputs(uint32_t tokens, uint32_t context, const StaticCall& call) const {
  return {view(ScalarType::Float, tokens, model_.hidden_size, call.residual),
          view(ScalarType::Float, tokens, model_.hidden_size, call.ffn_out),
          view(ScalarType::Half, context, model_.kv_size(), call.keys),
          view(ScalarType::Half, context, model_.kv_size(), call.values),
          view(ScalarType::Float, tokens, context + tokens, call.mask)};
}

std::vector<TensorView> QnnGraphs::outputs(uint32_t tokens) {
  return {view(ScalarType::Float, tokens, model_.hidden_size, residual_.data()),
          view(ScalarType::Float, tokens, model_.hidden_size, ffn_input_.data()),
          view(ScalarType::Float, tokens, model_.kv_size(), k_.data()),
          view(ScalarType::Float, tokens, model_.kv_size(), v_.data())};
}

// Each method is given the whole file's context, though only the first to be loaded reads it: so files are mapped, and
// leave memory when the backend has its copy.
Status QnnGraphs::load(const Package& package, const AttentionFacts& facts, uint32_t context) {
  std::map<std::string, std::shared_ptr<const MappedFile>> files;
  auto open = [&](const std::string& name, const std::string& method, const std::vector<TensorView>& in,
                  const std::vector<TensorView>& out) -> Result<std::unique_ptr<ExecutorchProgram>> {
    if (!files.contains(name)) {
      FN_ASSIGN_OR_RETURN(files[name], MappedFile::open(package.path_of(name)));
    }
    FN_ASSIGN_OR_RETURN(auto program, ExecutorchProgram::open(files[name], name, method));
    FN_RETURN_IF_ERROR(program->check_interface(in, out));
    FN_ASSIGN_OR_RETURN(const auto planned_bytes, program->planned_bytes());
    context_.reserve(planned_bytes);
    return program;
  };
  const TensorView hidden = view(ScalarType::Float, 1, model_.hidden_size, nullptr);
  const std::vector<TensorView> head_out{view(ScalarType::Float, 1, model_.vocab_size, logits_.data())};
  FN_ASSIGN_OR_RETURN(head_, open(facts.head, "forward", {hidden, hidden}, head_out));
  for (uint32_t layer = 0; layer < facts.layers.size(); ++layer) {
    for (const uint32_t rows : facts.contexts) {
      if (rows > cache_rows(facts, context)) break;  // never reached
      for (const uint32_t tokens : {1u, facts.max_chunk}) {
        FN_ASSIGN_OR_RETURN(auto graph, open(facts.layers[layer], method_name(layer, tokens, rows),
                                             inputs(tokens, rows, {}), outputs(tokens)));
        graphs_.insert_or_assign(Key{layer, tokens, rows}, std::move(graph));
      }
    }
  }
  FN_RETURN_IF_ERROR(context_.allocate());
  auto load = [&](ExecutorchProgram& program, const std::string& name, const std::vector<TensorView>& out) -> Status {
    FN_RETURN_IF_ERROR(program.load(context_, out));
    files[name]->drop_pages();
    return {};
  };
  FN_RETURN_IF_ERROR(load(*head_, facts.head, head_out));
  for (const auto& [key, graph] : graphs_) {
    FN_RETURN_IF_ERROR(load(*graph, facts.layers[key.layer], outputs(key.tokens)));
  }
  return {};
}

Result<StaticOutputs> QnnGraphs::run(uint32_t layer, uint32_t tokens, uint32_t context, const StaticCall& call) {
  const auto found = graphs_.find(Key{layer, tokens, context});
  if (found == graphs_.end()) {
    return Status(StatusCode::kInternal, method_name(layer, tokens, context) + " was not loaded");
  }
  FN_RETURN_IF_ERROR(found->second->run(inputs(tokens, context, call)));
  return StaticOutputs{residual_.data(), ffn_input_.data(), k_.data(), v_.data()};
}

Status QnnGraphs::head(const float* residual, const float* ffn_out, std::span<float> logits) {
  if (logits.size() != logits_.size()) return {StatusCode::kInternal, "head: room for logits has another size"};
  const std::vector<TensorView> inputs{view(ScalarType::Float, 1, model_.hidden_size, residual),
                                       view(ScalarType::Float, 1, model_.hidden_size, ffn_out)};
  FN_RETURN_IF_ERROR(head_->run(inputs));
  std::copy(logits_.begin(), logits_.end(), logits.begin());
  return {};
}

}  // namespace

Result<std::unique_ptr<AttentionProgram>> load_npu_attention(const Package& package, const AttentionFacts& facts,
                                                             uint32_t context, const std::string& libraries,
                                                             OperatorProfile* profile) {
  set_up_executorch(1);
  FN_RETURN_IF_ERROR(load_npu_libraries(libraries));
  if (profile != nullptr) FN_RETURN_IF_ERROR(profile_npu_operators());
  const ModelFacts& model = package.manifest().model;
  auto graphs = std::make_unique<QnnGraphs>(model, facts.max_chunk, profile);
  if (const Status status = graphs->load(package, facts, context); !status.ok()) {
    if (status.code() == StatusCode::kCorrupt) return status;
    return Status(status.code(), status.message() + "; QNN SDK " + facts.sdk +
                                     " compiled it: push QNN libraries that are at least as new, or export it again");
  }
  release_free_memory();
  const std::optional<NpuAllocator> allocator = npu_allocator();
  return std::unique_ptr<AttentionProgram>(std::make_unique<NpuAttention>(
      model, facts, std::move(graphs), allocator ? NpuMemory::create(*allocator) : nullptr));
}

AttentionEstimate estimate_npu_attention(const Package& package, const AttentionFacts& facts,
                                         const std::string& libraries) {
  const ModelFacts& model = package.manifest().model;
  AttentionEstimate estimate;
  const uint64_t row = 2 * (uint64_t{model.hidden_size} + model.kv_size()) * sizeof(float);
  estimate.attention_bytes =
      npu_library_bytes(libraries) + NpuAttention::buffer_bytes(model, facts) + facts.max_chunk * row;
  // The backend's copy of a file is a little larger (6 %, with what 48 graphs need to run: 231 MB, the emulator).
  std::string last;
  for (const std::string& name : facts.layers) {
    if (name != last) estimate.attention_bytes += package.bytes_of(name) + package.bytes_of(name) / 16;
    last = name;
  }
  estimate.head_bytes = package.bytes_of(facts.head) + model.vocab_size * sizeof(float);
  return estimate;
}

}  // namespace flashneuron
