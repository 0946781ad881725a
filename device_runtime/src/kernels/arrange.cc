// The order of int4's inputs and sums; see weights.h.
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

void arrange_input(DType dtype, const float* x, float* input, size_t count) {
  arrange_sum(dtype, x, input, count);
  if (dtype != DType::kInt4) return;
  for (size_t g = 0; g * kInt4Group < count; ++g) {
    float* group = input + g * int4::kStride;
    for (size_t j = 0; j < int4::kWords; ++j) {
      float sum = 0;
      for (size_t k = 0; k < int4::kNibbles; ++k) {
        sum += group[k * int4::kWords + j];
        group[k * int4::kWords + j] *= int4::kDown[k % 4];
      }
      group[kInt4Group + j] = -8.0f * sum;
    }
  }
}

}  // namespace flashneuron::kernels
