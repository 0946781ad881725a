#include <algorithm>

#include "core/align.h"
#include "kernels/int4.h"
#include "kernels/round_input.h"
#include "kernels/weights.h"

namespace flashneuron::kernels {

RowInput::RowInput(DType dtype, size_t count) : dtype_(dtype), count_(count) {
  if (!has_scales(dtype)) return;
  integers_.resize(round_up(count, kPadding));
  if (dtype != DType::kInt4) return;
  natural_.resize(integers_.size());
  offsets_.resize(integers_.size() / kInt4Group * int4::kWords);
}

void RowInput::set(const float* x) {
  x_ = x;
  if (!has_scales(dtype_)) return;
  const bool arranged = dtype_ == DType::kInt4;
  scale_ = round_input(x, arranged ? natural_.data() : integers_.data(), count_);
  if (!arranged) return;
  for (size_t j = 0; j < natural_.size() / 4; ++j) {
    int16_t* first = &integers_[int4::place_of_input(4 * j)];
    for (size_t k = 0; k < 4; ++k) first[k * int4::kShorts] = natural_[4 * j + k];
  }
  for (size_t word = 0; word < offsets_.size(); ++word) {
    int32_t sum = 0;
    for (size_t k = 0; k < int4::kNibbles; ++k) sum += natural_[int4::kNibbles * word + k];
    offsets_[word] = -8 * sum;
  }
}

uint64_t RowInput::buffer_bytes(DType dtype, size_t count) {
  const RowInput input(dtype, count);
  return sizeof(int16_t) * (input.natural_.size() + input.integers_.size()) + sizeof(int32_t) * input.offsets_.size();
}

}  // namespace flashneuron::kernels
