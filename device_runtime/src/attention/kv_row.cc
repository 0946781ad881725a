#include "attention/kv_row.h"

#include "kernels/kernels.h"

namespace flashneuron {

void KvRow::store(const float* rows, size_t count, std::byte* out) const {
  if (type != KvType::kInt8) return kernels::from_fp32(rows, element(), out, count * size());
  for (size_t i = 0; i < count; ++i, rows += size(), out += bytes()) {
    for (uint32_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
      const size_t first = size_t{kv_head} * head_size;
      const float scale = kernels::round_int8(rows + first, out + first, head_size);
      std::memcpy(out + size() + kv_head * sizeof(scale), &scale, sizeof(scale));
    }
  }
}

}  // namespace flashneuron
