#include "attention/attention_op.h"

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/kernel/kernel_includes.h>
#include <executorch/runtime/kernel/thread_parallel_interface.h>

#include <optional>

#include "attention/attention_math.h"

namespace flashneuron {
namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;

constexpr char kName[] = "flashneuron::attention.out";
constexpr char kAlibiName[] = "flashneuron::attention_alibi.out";

bool is_matrix(const Tensor& tensor, ScalarType type) { return tensor.dim() == 2 && tensor.scalar_type() == type; }

// Sets the row's element by its bytes, if one has as many. Rows of heads of 4 elements are as long in int8 as in fp16,
// which they then are.
bool find_type(int64_t bytes, KvRow& row) {
  for (const KvType type : {KvType::kFp32, KvType::kFp16, KvType::kInt8}) {
    row.type = type;
    if (bytes == row.bytes()) return true;
  }
  return false;
}

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
  if (!fits) return std::nullopt;
  AttentionCall call;
  call.heads = static_cast<uint32_t>(heads);
  call.row = {static_cast<uint32_t>(kv_heads), static_cast<uint32_t>(q.size(1) / heads), KvType::kFp32};
  if (!find_type(k_cache.size(1), call.row)) return std::nullopt;
  call.tokens = static_cast<uint32_t>(q.size(0));
  call.position = static_cast<uint32_t>(first);
  call.q = q.const_data_ptr<float>();
  call.keys = static_cast<const std::byte*>(k_cache.const_data_ptr());
  call.values = static_cast<const std::byte*>(v_cache.const_data_ptr());
  return call;
}

// The new rows in the cache's element: the tensor itself in fp32, else a rounded copy for the duration of the call.
const std::byte* rounded(KernelRuntimeContext& context, const Tensor& rows, const KvRow& row) {
  if (row.type == KvType::kFp32) return static_cast<const std::byte*>(rows.const_data_ptr());
  const auto count = static_cast<size_t>(rows.size(0));
  const auto memory = context.allocate_temp(count * row.bytes(), alignof(float));
  if (!memory.ok()) return nullptr;
  auto* copy = static_cast<std::byte*>(memory.get());
  row.store(rows.const_data_ptr<float>(), count, copy);
  return copy;
}

// Finishes `call`, if the inputs fit, for new rows k and v.
Tensor& run(KernelRuntimeContext& context, const char* name, std::optional<AttentionCall> call, const Tensor& q,
            const Tensor& k, const Tensor& v, Tensor& out) {
  ET_KERNEL_CHECK_MSG(context, call.has_value(), InvalidArgument, out, "%s: inputs do not fit each other", name);
  ET_KERNEL_CHECK(context, resize_tensor(out, q.sizes()) == Error::Ok, InvalidArgument, out);
  call->new_keys = rounded(context, k, call->row);
  call->new_values = rounded(context, v, call->row);
  ET_KERNEL_CHECK(context, call->new_keys != nullptr && call->new_values != nullptr, MemoryAllocationFailed, out);

  auto* result = out.mutable_data_ptr<float>();
  const auto body = [&](int64_t begin, int64_t end) {
    attend(*call, static_cast<size_t>(begin), static_cast<size_t>(end), result);
  };
  const bool ran = executorch::extension::parallel_for(0, int64_t{call->tokens} * call->heads, 1, body);
  ET_KERNEL_CHECK(context, ran, Internal, out);
  return out;
}

Tensor& attention_out(KernelRuntimeContext& context, const Tensor& q, const Tensor& k, const Tensor& v,
                      const Tensor& k_cache, const Tensor& v_cache, const Tensor& position, int64_t heads,
                      int64_t kv_heads, Tensor& out) {
  return run(context, kName, describe(q, k, v, k_cache, v_cache, position, heads, kv_heads), q, k, v, out);
}

Tensor& attention_alibi_out(KernelRuntimeContext& context, const Tensor& q, const Tensor& k, const Tensor& v,
                            const Tensor& k_cache, const Tensor& v_cache, const Tensor& position, const Tensor& slopes,
                            int64_t heads, int64_t kv_heads, Tensor& out) {
  std::optional<AttentionCall> call = describe(q, k, v, k_cache, v_cache, position, heads, kv_heads);
  if (call && slopes.scalar_type() == ScalarType::Float && slopes.numel() == heads) {
    call->slopes = slopes.const_data_ptr<float>();
  } else {
    call.reset();
  }
  return run(context, kAlibiName, call, q, k, v, out);
}

}  // namespace

std::array<executorch::runtime::Kernel, 2> attention_kernels() {
  using executorch::extension::make_boxed_kernel;
  return {make_boxed_kernel(kName, EXECUTORCH_FN(attention_out, kName)),
          make_boxed_kernel(kAlibiName, EXECUTORCH_FN(attention_alibi_out, kAlibiName))};
}

}  // namespace flashneuron
