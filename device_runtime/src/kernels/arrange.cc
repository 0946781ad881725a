// The order of int4's sums; see weights.h.
#include <algorithm>

#include "kernels/int4.h"
#include "kernels/weights.h"

namespace flashneuron::kernels {

void arrange_sum(DType dtype, const float* values, float* sum, size_t count) {
  if (dtype != DType::kInt4) {
    std::copy_n(values, count, sum);
    return;
  }
  std::fill_n(sum, arranged_floats(dtype, count), 0.0f);
  for (size_t i = 0; i < count; ++i) sum[int4::place(i)] = values[i];
}

void restore_sum(DType dtype, const float* sum, float* values, size_t count) {
  if (dtype != DType::kInt4) {
    std::copy_n(sum, count, values);
    return;
  }
  for (size_t i = 0; i < count; ++i) values[i] = sum[int4::place(i)];
}

}  // namespace flashneuron::kernels
