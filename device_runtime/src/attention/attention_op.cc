#include "attention/attention_op.h"

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/kernel/kernel_includes.h>
#include <executorch/runtime/kernel/thread_parallel_interface.h>

#include <optional>

#include "attention/attention_math.h"
#include "kernels/kernels.h"

namespace flashneuron {
namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;

constexpr char kName[] = "flashneuron::attention.out";

bool is_matrix(const Tensor& tensor, ScalarType type) { return tensor.dim() == 2 && tensor.scalar_type() == type; }

// The call without its new rows, or nothing where sizes or types do not fit each other.
std::optional<AttentionCall> describe(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& k_cache,
                                      const Tensor& v_cache, const Tensor& position, int64_t heads, int64_t kv_heads) {
  if (!is_matrix(q, ScalarType::Float) || !is_matrix(k, ScalarType::Float) || !is_matrix(v, ScalarType::Float) ||
      !is_matrix(k_cache, ScalarType::Byte) || !is_matrix(v_cache, ScalarType::Byte) ||
      position.scalar_type() != ScalarType::Long || position.numel() != 1) {
    return std::nullopt;
  }
  const int64_t first = *position.const_data_ptr<int64_t>();
  const bool fits = heads > 0 && kv_heads > 0 && heads % kv_heads == 0 && q.size(1) % heads == 0 &&
                    k.size(1) * heads == q.size(1) * kv_heads && v.size(1) == k.size(1) && k.size(0) == q.size(0) &&
                    v.size(0) == q.size(0) && v_cache.size(0) == k_cache.size(0) &&
                    v_cache.size(1) == k_cache.size(1) && first >= 0 && first <= k_cache.size(0);
  const bool fp32 = k_cache.size(1) == 4 * k.size(1);
  if (!fits || (!fp32 && k_cache.size(1) != 2 * k.size(1))) return std::nullopt;
  AttentionCall call;
  call.heads = static_cast<uint32_t>(heads);
  call.kv_heads = static_cast<uint32_t>(kv_heads);
  call.head_size = static_cast<uint32_t>(q.size(1) / heads);
  call.tokens = static_cast<uint32_t>(q.size(0));
  call.position = static_cast<uint32_t>(first);
  call.element = fp32 ? DType::kFp32 : DType::kFp16;
  call.q = q.const_data_ptr<float>();
  call.keys = static_cast<const std::byte*>(k_cache.const_data_ptr());
  call.values = static_cast<const std::byte*>(v_cache.const_data_ptr());
  return call;
}

// The new rows in the cache's element: the tensor itself in fp32, else a rounded copy for the duration of the call.
const std::byte* rounded(KernelRuntimeContext& context, const Tensor& rows, DType element) {
  if (element == DType::kFp32) return static_cast<const std::byte*>(rows.const_data_ptr());
  const size_t count = static_cast<size_t>(rows.numel());
  const auto memory = context.allocate_temp(count * element_bytes(element), alignof(float));
  if (!memory.ok()) return nullptr;
  auto* copy = static_cast<std::byte*>(memory.get());
  kernels::from_fp32(rows.const_data_ptr<float>(), element, copy, count);
  return copy;
}

Tensor& attention_out(KernelRuntimeContext& context, const Tensor& q, const Tensor& k, const Tensor& v,
                      const Tensor& k_cache, const Tensor& v_cache, const Tensor& position, int64_t heads,
                      int64_t kv_heads, Tensor& out) {
  std::optional<AttentionCall> call = describe(q, k, v, k_cache, v_cache, position, heads, kv_heads);
  ET_KERNEL_CHECK_MSG(context, call.has_value(), InvalidArgument, out, "%s: inputs do not fit each other", kName);
  ET_KERNEL_CHECK(context, resize_tensor(out, q.sizes()) == Error::Ok, InvalidArgument, out);
  call->new_keys = rounded(context, k, call->element);
  call->new_values = rounded(context, v, call->element);
  ET_KERNEL_CHECK(context, call->new_keys != nullptr && call->new_values != nullptr, MemoryAllocationFailed, out);

  auto* result = out.mutable_data_ptr<float>();
  const auto body = [&](int64_t begin, int64_t end) {
    attend(*call, static_cast<size_t>(begin), static_cast<size_t>(end), result);
  };
  const bool ran = executorch::extension::parallel_for(0, int64_t{call->tokens} * heads, 1, body);
  ET_KERNEL_CHECK(context, ran, Internal, out);
  return out;
}

}  // namespace

executorch::runtime::Kernel attention_kernel() {
  return executorch::extension::make_boxed_kernel(kName, EXECUTORCH_FN(attention_out, kName));
}

}  // namespace flashneuron
