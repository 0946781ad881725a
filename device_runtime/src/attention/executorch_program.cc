#include "attention/executorch_program.h"

#include <executorch/devtools/etdump/etdump_flatcc.h>
#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/extension/data_loader/file_data_loader.h>

#include <algorithm>
#include <array>

#include "attention/attention_op.h"

namespace flashneuron {
namespace {

using executorch::runtime::Error;
using executorch::runtime::EValue;

constexpr size_t kMaxDimensions = 2;

StatusCode code_of(Error error) {
  switch (error) {
    case Error::InvalidProgram:
      return StatusCode::kCorrupt;
    case Error::OperatorMissing:
    case Error::NotSupported:
    case Error::NotFound:  // a backend
    case Error::DelegateInvalidCompatibility:
      return StatusCode::kUnsupported;
    case Error::MemoryAllocationFailed:
      return StatusCode::kOutOfMemory;
    default:
      return StatusCode::kInternal;
  }
}

std::string hex(Error error) {
  constexpr char kDigits[] = "0123456789abcdef";
  const auto value = static_cast<uint32_t>(error);
  return {'0', 'x', kDigits[value / 16 % 16], kDigits[value % 16]};
}

bool is_like(const executorch::runtime::Result<executorch::runtime::TensorInfo>& info, const TensorView& view) {
  return info.ok() && info->scalar_type() == view.type &&
         std::equal(info->sizes().begin(), info->sizes().end(), view.sizes.begin(), view.sizes.end());
}

size_t bytes_of(const TensorView& view) {
  size_t bytes = executorch::runtime::elementSize(view.type);
  for (int32_t size : view.sizes) bytes *= static_cast<size_t>(size);
  return bytes;
}

}  // namespace

ProgramContext::ProgramContext(OperatorProfile* profile) : profile_(profile) {
  const auto all = executorch::runtime::get_registered_kernels();
  kernels_.assign(all.begin(), all.end());
  for (const auto& kernel : attention_kernels()) kernels_.push_back(kernel);
}

void ProgramContext::reserve(std::span<const uint64_t> planned_bytes) {
  bytes_.resize(std::max(bytes_.size(), planned_bytes.size()));
  for (size_t i = 0; i < planned_bytes.size(); ++i) bytes_[i] = std::max(bytes_[i], planned_bytes[i]);
}

Status ProgramContext::allocate() {
  for (uint64_t bytes : bytes_) {
    FN_ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::create(bytes));
    spans_.emplace_back(reinterpret_cast<uint8_t*>(buffer.data()), buffer.size());
    buffers_.push_back(std::move(buffer));
  }
  planned_ = std::make_unique<executorch::runtime::HierarchicalAllocator>(
      executorch::runtime::Span<executorch::runtime::Span<uint8_t>>(spans_.data(), spans_.size()));
  return {};
}

Result<std::unique_ptr<ExecutorchProgram>> ExecutorchProgram::open(const std::string& path, const std::string& name) {
  using executorch::extension::FileDataLoader;
  auto loader = FileDataLoader::from(path.c_str());
  if (!loader.ok()) return Status(StatusCode::kIo, name + ": cannot open the program; push the package again");
  auto owned = std::make_unique<FileDataLoader>(std::move(loader.get()));
  std::unique_ptr<ExecutorchProgram> opened(new ExecutorchProgram(nullptr, std::move(owned), name, "forward"));
  FN_RETURN_IF_ERROR(opened->open_program());
  return opened;
}

Result<std::unique_ptr<ExecutorchProgram>> ExecutorchProgram::open(std::shared_ptr<const MappedFile> file,
                                                                   const std::string& name, const std::string& method) {
  const auto bytes = file->bytes();
  auto loader = std::make_unique<executorch::extension::BufferDataLoader>(bytes.data(), bytes.size());
  std::unique_ptr<ExecutorchProgram> opened(new ExecutorchProgram(std::move(file), std::move(loader), name, method));
  FN_RETURN_IF_ERROR(opened->open_program());
  return opened;
}

Status ExecutorchProgram::open_program() {
  using executorch::runtime::Program;
  auto program = Program::load(loader_.get(), Program::Verification::InternalConsistency);
  if (!program.ok() || !program->method_meta(method_name_.c_str()).ok()) {
    return {StatusCode::kCorrupt,
            name_ + ": not an ExecuTorch program with a method '" + method_name_ + "'; export it again"};
  }
  program_.emplace(std::move(program.get()));
  return {};
}

Status ExecutorchProgram::check_interface(std::span<const TensorView> inputs,
                                          std::span<const TensorView> outputs) const {
  const auto meta = program_->method_meta(method_name_.c_str());
  bool fits = meta.ok() && meta->num_inputs() == inputs.size() && meta->num_outputs() == outputs.size();
  for (size_t i = 0; fits && i < inputs.size(); ++i) fits = is_like(meta->input_tensor_meta(i), inputs[i]);
  for (size_t i = 0; fits && i < outputs.size(); ++i) fits = is_like(meta->output_tensor_meta(i), outputs[i]);
  if (fits) return {};
  return {StatusCode::kCorrupt, name_ +
                                    ": its inputs and outputs are not those of the manifest's model; export it "
                                    "again"};
}

Result<std::vector<uint64_t>> ExecutorchProgram::planned_bytes() const {
  const auto meta = program_->method_meta(method_name_.c_str());
  if (!meta.ok()) return failed(meta.error(), "reading the method");
  std::vector<uint64_t> sizes(meta->num_memory_planned_buffers());
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto bytes = meta->memory_planned_buffer_size(i);
    if (!bytes.ok() || bytes.get() < 0) return failed(Error::InvalidProgram, "reading the memory plan");
    sizes[i] = static_cast<uint64_t>(bytes.get());
  }
  return sizes;
}

Status ExecutorchProgram::load(ProgramContext& context, std::span<const TensorView> outputs) {
  executorch::runtime::BackendOptions<1> xnnpack;
  executorch::runtime::LoadBackendOptionsMap options;
  // 2: one workspace for all programs, which run one after the other.
  if (xnnpack.set_option("workspace_sharing_mode", 2) != Error::Ok ||
      options.set_options("XnnpackBackend", xnnpack.view()) != Error::Ok) {
    return failed(Error::Internal, "setting backend options");
  }
  memory_.emplace(&method_memory_, &context.planned(), &context.scratch());
  auto* tracer = context.profile() ? &context.profile()->add(name_, method_name_) : nullptr;
  auto method = program_->load_method(method_name_.c_str(), &*memory_, tracer, nullptr, &options, context.kernels());
  if (!method.ok()) return failed(method.error(), "loading");
  method_.emplace(std::move(method.get()));
  if (tracer != nullptr) tracer->reset();  // loading is not a run
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Error error = method_->set_output_data_ptr(outputs[i].data, bytes_of(outputs[i]), i);
    if (error != Error::Ok) return failed(error, "binding output " + std::to_string(i));
  }
  return {};
}

Status ExecutorchProgram::run(std::span<const TensorView> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorView& view = inputs[i];
    std::array<int32_t, kMaxDimensions> sizes{};
    std::copy(view.sizes.begin(), view.sizes.end(), sizes.begin());
    std::array<uint8_t, kMaxDimensions> order{0, 1};
    std::array<int32_t, kMaxDimensions> strides{view.sizes.size() > 1 ? sizes[1] : 1, 1};
    executorch::aten::TensorImpl tensor(view.type, static_cast<ssize_t>(view.sizes.size()), sizes.data(), view.data,
                                        order.data(), strides.data());
    const Error error = method_->set_input(EValue(executorch::aten::Tensor(&tensor)), i);
    if (error != Error::Ok) return failed(error, "setting input " + std::to_string(i));
  }
  const Error error = method_->execute();
  if (error != Error::Ok) return failed(error, "running");
  return {};
}

Status ExecutorchProgram::failed(Error error, const std::string& doing) const {
  return {code_of(error), name_ + ": " + doing + " failed with ExecuTorch error " + hex(error) + " (see the log)"};
}

}  // namespace flashneuron
