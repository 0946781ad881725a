#include "attention/npu_memory.h"

#if defined(__ANDROID__) && defined(FLASHNEURON_QNN)
// Of ExecuTorch's QNN backend, whose header (backends/qualcomm/runtime/QnnExecuTorch.h) is not installed with it.
extern "C" {
void* QnnExecuTorchAllocCustomMem(size_t bytes, size_t alignment);
void QnnExecuTorchFreeCustomMem(void* memory);
void QnnExecuTorchAddCustomMemTensorAddr(void* tensor, void* memory);
}
#endif

namespace flashneuron {

// FastRPC's memory is a driver's of Android; the backend crashes when asked for it elsewhere.
std::optional<NpuAllocator> npu_allocator() {
#if defined(__ANDROID__) && defined(FLASHNEURON_QNN)
  return NpuAllocator{QnnExecuTorchAllocCustomMem, QnnExecuTorchFreeCustomMem, QnnExecuTorchAddCustomMemTensorAddr};
#else
  return std::nullopt;
#endif
}

}  // namespace flashneuron
