// Attention by ExecuTorch. Weights are packed once, at load; activations of all programs share one arena; outputs go to
// buffers here and are copied out, so that a caller's residual_out may be its residual.
#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "attention/attention_program.h"
#include "attention/executorch_process.h"
#include "attention/executorch_program.h"
#include "package/file_io.h"

namespace flashneuron {
namespace {

using executorch::aten::ScalarType;

int32_t size(uint32_t value) { return static_cast<int32_t>(value); }

TensorView floats(uint32_t rows, uint32_t columns, const float* data) {
  // ExecuTorch has no read-only tensors; programs do not write to their inputs.
  return {ScalarType::Float, {size(rows), size(columns)}, const_cast<float*>(data)};
}

class ExecutorchAttention final : public AttentionProgram {
 public:
  ExecutorchAttention(const ModelFacts& model, uint32_t max_chunk, OperatorProfile* profile)
      : model_(model),
        max_chunk_(max_chunk),
        context_(profile),
        residual_(size_t{max_chunk} * model.hidden_size),
        ffn_input_(residual_.size()),
        k_(size_t{max_chunk} * model.kv_size()),
        v_(k_.size()),
        logits_(model.vocab_size) {}

  Status load(const Package& package, const AttentionFacts& facts);

  uint32_t max_chunk() const override { return max_chunk_; }
  Status layer(uint32_t layer, uint32_t position, uint32_t tokens, const float* residual, const float* ffn_out,
               KvCache& kv, float* residual_out, float* ffn_input) override;
  Status head(const float* residual, const float* ffn_out, std::span<float> logits) override;

 private:
  std::vector<TensorView> layer_inputs(uint32_t tokens, uint32_t rows, uint32_t row_bytes) const;

  const ModelFacts model_;
  const uint32_t max_chunk_;
  ProgramContext context_;
  std::vector<float> residual_;   // [max_chunk, hidden]
  std::vector<float> ffn_input_;  // [max_chunk, hidden]
  std::vector<float> k_;          // [max_chunk, kv]
  std::vector<float> v_;          // [max_chunk, kv]
  std::vector<float> logits_;     // [vocab]
  std::vector<std::unique_ptr<ExecutorchProgram>> layers_;
  std::unique_ptr<ExecutorchProgram> head_;
};

// Inputs of a layer program without their data.
std::vector<TensorView> ExecutorchAttention::layer_inputs(uint32_t tokens, uint32_t rows, uint32_t row_bytes) const {
  const TensorView hidden = floats(tokens, model_.hidden_size, nullptr);
  const TensorView cache{ScalarType::Byte, {size(rows), size(row_bytes)}, nullptr};
  return {hidden, hidden, cache, cache, {ScalarType::Long, {1}, nullptr}};
}

Status ExecutorchAttention::load(const Package& package, const AttentionFacts& facts) {
  const TensorView hidden = floats(1, model_.hidden_size, nullptr);
  const std::vector<TensorView> layer_outputs{floats(max_chunk_, model_.hidden_size, residual_.data()),
                                              floats(max_chunk_, model_.hidden_size, ffn_input_.data()),
                                              floats(max_chunk_, model_.kv_size(), k_.data()),
                                              floats(max_chunk_, model_.kv_size(), v_.data())};
  const std::vector<TensorView> head_outputs{floats(1, model_.vocab_size, logits_.data())};

  auto open = [&](const std::string& name, const std::vector<TensorView>& inputs,
                  const std::vector<TensorView>& outputs) -> Result<std::unique_ptr<ExecutorchProgram>> {
    FN_ASSIGN_OR_RETURN(auto program, ExecutorchProgram::open(package.path_of(name), name));
    FN_RETURN_IF_ERROR(program->check_interface(inputs, outputs));
    FN_ASSIGN_OR_RETURN(const auto planned_bytes, program->planned_bytes());
    context_.reserve(planned_bytes);
    return program;
  };
  for (const std::string& name : facts.layers) {
    FN_ASSIGN_OR_RETURN(auto program,
                        open(name, layer_inputs(max_chunk_, model_.max_context, 4 * model_.kv_size()), layer_outputs));
    layers_.push_back(std::move(program));
  }
  FN_ASSIGN_OR_RETURN(head_, open(facts.head, {hidden, hidden}, head_outputs));

  FN_RETURN_IF_ERROR(context_.allocate());
  auto load = [&](ExecutorchProgram& program, const std::string& name,
                  const std::vector<TensorView>& outputs) -> Status {
    FN_RETURN_IF_ERROR(program.load(context_, outputs));
    drop_pages(package.path_of(name));  // the delegate has its own copy of the weights
    return {};
  };
  FN_RETURN_IF_ERROR(load(*head_, facts.head, head_outputs));  // the largest first: loading needs its weights twice
  for (size_t i = 0; i < layers_.size(); ++i) FN_RETURN_IF_ERROR(load(*layers_[i], facts.layers[i], layer_outputs));
  return {};
}

Status ExecutorchAttention::layer(uint32_t layer, uint32_t position, uint32_t tokens, const float* residual,
                                  const float* ffn_out, KvCache& kv, float* residual_out, float* ffn_input) {
  if (layer >= layers_.size() || tokens == 0 || tokens > max_chunk_ || position + tokens > kv.capacity()) {
    return {StatusCode::kInternal, "attention layer " + std::to_string(layer) + ": " + std::to_string(tokens) +
                                       " tokens at position " + std::to_string(position) + " do not fit"};
  }
  int64_t first = position;
  std::vector<TensorView> inputs = layer_inputs(tokens, kv.capacity(), kv.row_bytes());
  inputs[0].data = const_cast<float*>(residual);
  inputs[1].data = const_cast<float*>(ffn_out);
  inputs[2].data = kv.keys(layer);
  inputs[3].data = kv.values(layer);
  inputs[4].data = &first;
  FN_RETURN_IF_ERROR(layers_[layer]->run(inputs));
  kv.append(layer, position, tokens, k_.data(), v_.data());
  const size_t count = size_t{tokens} * model_.hidden_size;
  std::copy_n(residual_.begin(), count, residual_out);
  std::copy_n(ffn_input_.begin(), count, ffn_input);
  return {};
}

Status ExecutorchAttention::head(const float* residual, const float* ffn_out, std::span<float> logits) {
  if (logits.size() != logits_.size()) return {StatusCode::kInternal, "head: room for logits has another size"};
  const std::vector<TensorView> inputs{floats(1, model_.hidden_size, residual), floats(1, model_.hidden_size, ffn_out)};
  FN_RETURN_IF_ERROR(head_->run(inputs));
  std::copy(logits_.begin(), logits_.end(), logits.begin());
  return {};
}

// The shared arena: the largest memory plan of all programs. Counts 0 for a program that cannot be read, which then
// fails to load by name.
uint64_t planned_bytes(const Package& package, const AttentionFacts& facts) {
  uint64_t largest = 0;
  std::vector<std::string> names = facts.layers;
  names.push_back(facts.head);
  for (const std::string& name : names) {
    const auto program = ExecutorchProgram::open(package.path_of(name), name);
    if (!program.ok()) continue;
    const auto sizes = program.value()->planned_bytes();
    if (!sizes.ok()) continue;
    largest = std::max(largest, std::accumulate(sizes.value().begin(), sizes.value().end(), uint64_t{0}));
  }
  return largest;
}

}  // namespace

AttentionEstimate estimate_executorch_attention(const Package& package, const AttentionFacts& facts) {
  // Packed weights take what the file's weights take, and the file's graph stays in memory. What else there is:
  constexpr uint64_t kBaseBytes = 512 << 10;  // thread pool, operator table, XNNPACK's own state
  const ModelFacts& model = package.manifest().model;
  const uint64_t chunk_row = uint64_t{facts.max_chunk} * sizeof(float);
  const uint64_t outputs = 2 * chunk_row * (model.hidden_size + model.kv_size());
  // The scaled queries, inside a delegate, and its input rounded to integers.
  const uint64_t workspace = chunk_row * model.hidden_size + uint64_t{facts.max_chunk} * model.hidden_size;
  // New keys and values in the element of an fp16 cache, while the attention operator runs.
  const uint64_t scratch = 2 * uint64_t{facts.max_chunk} * model.kv_size() * element_bytes(DType::kFp16);
  // Packed integer weights come with the sum of each row, which takes out the inputs' zero point.
  const uint64_t row_sum = facts.dtype == "int8" || facts.dtype == "int4" ? sizeof(int32_t) : 0;
  const uint64_t layer_rows = uint64_t{model.heads} * model.head_size + 2 * model.kv_size() + model.hidden_size;
  AttentionEstimate estimate;
  estimate.attention_bytes = kBaseBytes + outputs + workspace + scratch + planned_bytes(package, facts);
  for (const std::string& name : facts.layers) {
    estimate.attention_bytes += package.bytes_of(name) + layer_rows * row_sum;
  }
  estimate.head_bytes = package.bytes_of(facts.head) + model.vocab_size * (sizeof(float) + row_sum);
  return estimate;
}

Result<std::unique_ptr<AttentionProgram>> load_executorch_attention(const Package& package, const AttentionFacts& facts,
                                                                    int threads, OperatorProfile* profile) {
  set_up_executorch(threads);
  auto attention = std::make_unique<ExecutorchAttention>(package.manifest().model, facts.max_chunk, profile);
  FN_RETURN_IF_ERROR(attention->load(package, facts));
  release_free_memory();  // the weights as they were before packing
  return std::unique_ptr<AttentionProgram>(std::move(attention));
}

}  // namespace flashneuron
