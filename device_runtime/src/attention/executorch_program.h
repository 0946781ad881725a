// One method of a .pte file: opened, loaded over shared activation memory, run. What ExecuTorch's Module
// does, but all programs of a model run in one arena and write their outputs where the caller says.
#pragma once

#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/runtime/core/data_loader.h>
#include <executorch/runtime/executor/program.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attention/operator_profile.h"
#include "core/aligned_buffer.h"
#include "flashneuron/status.h"
#include "package/mapped_file.h"

namespace flashneuron {

// A contiguous tensor in the caller's memory.
struct TensorView {
  executorch::aten::ScalarType type = executorch::aten::ScalarType::Float;
  std::vector<int32_t> sizes;
  void* data = nullptr;
};

// What the programs of one model share: the operators they may call, and the memory they use while they run, one after
// the other: planned activations and kernels' scratch.
class ProgramContext {
 public:
  // ExecuTorch's operators and our own. `profile`, if any, records every run of a program and outlives them all.
  explicit ProgramContext(OperatorProfile* profile);
  // Room for a program that plans these sizes. Precondition: before allocate().
  void reserve(std::span<const uint64_t> planned_bytes);
  // Error: kOutOfMemory.
  Status allocate();

  executorch::runtime::Span<const executorch::runtime::Kernel> kernels() const {
    return {kernels_.data(), kernels_.size()};
  }
  executorch::runtime::HierarchicalAllocator& planned() { return *planned_; }
  executorch::runtime::MemoryAllocator& scratch() { return scratch_; }
  OperatorProfile* profile() { return profile_; }

 private:
  OperatorProfile* const profile_;
  std::vector<executorch::runtime::Kernel> kernels_;
  std::vector<uint64_t> bytes_;
  std::vector<AlignedBuffer> buffers_;
  std::vector<executorch::runtime::Span<uint8_t>> spans_;
  std::unique_ptr<executorch::runtime::HierarchicalAllocator> planned_;
  executorch::extension::MallocMemoryAllocator scratch_;
};

// Errors of all calls name the file: kCorrupt, kUnsupported (an operator or backend that this runtime lacks),
// kOutOfMemory, kInternal.
class ExecutorchProgram {
 public:
  // Reads the program without its weights. `name` is the file's, for messages.
  static Result<std::unique_ptr<ExecutorchProgram>> open(const std::string& path, const std::string& name);
  // One method of a file of many, which they all share: a backend that keeps its data has them once.
  static Result<std::unique_ptr<ExecutorchProgram>> open(std::shared_ptr<const MappedFile> file,
                                                         const std::string& name, const std::string& method);

  // Refuses (kCorrupt) a program whose inputs and outputs are not these, sizes being the largest it takes.
  Status check_interface(std::span<const TensorView> inputs, std::span<const TensorView> outputs) const;
  Result<std::vector<uint64_t>> planned_bytes() const;

  // Reads the weights and packs them for the backend. `context` (allocated) must outlive this object; programs that
  // share it may not run at the same time. `outputs` are of the largest sizes, and memory of every later run().
  Status load(ProgramContext& context, std::span<const TensorView> outputs);
  // Inputs may be smaller than the largest in their dynamic dimensions. Outputs must not overlap inputs.
  Status run(std::span<const TensorView> inputs);

 private:
  ExecutorchProgram(std::shared_ptr<const MappedFile> file, std::unique_ptr<executorch::runtime::DataLoader> loader,
                    std::string name, std::string method_name)
      : file_(std::move(file)),
        loader_(std::move(loader)),
        name_(std::move(name)),
        method_name_(std::move(method_name)) {}
  Status open_program();
  Status failed(executorch::runtime::Error error, const std::string& doing) const;

  // In this order: each refers to those before it.
  std::shared_ptr<const MappedFile> file_;  // null: the loader reads
  std::unique_ptr<executorch::runtime::DataLoader> loader_;
  std::string name_;
  std::string method_name_;
  std::optional<executorch::runtime::Program> program_;
  executorch::extension::MallocMemoryAllocator method_memory_;
  std::optional<executorch::runtime::MemoryManager> memory_;
  std::optional<executorch::runtime::Method> method_;
};

}  // namespace flashneuron
