// The two products of a sparse FFN, for weights of any element type with their scales: an up row times an input, and a
// block's sum of down columns. As in kernels.h, `reference` gives the same bits, and bits depend on the inputs alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/dtype.h"

namespace flashneuron::kernels {

// A row of weights: row_bytes and scale_bytes of its type; no scales for floats.
struct WeightRow {
  const std::byte* values = nullptr;
  const std::byte* scales = nullptr;
};

// An input as the dots read it. For floats that is x itself. For int8 and int4 x is rounded to 16-bit integers with one
// scale, so that products and their sums are exact: integers[i] = x[i] * (32767 / max |x|), halves to even.
class RowInput {
 public:
  static constexpr size_t kPadding = 128;  // integers come in multiples of it, the last ones zeros

  RowInput(DType dtype, size_t count);
  // x is [count], finite, and must outlive the dots that follow.
  void set(const float* x);

  DType dtype() const { return dtype_; }
  size_t count() const { return count_; }
  const float* x() const { return x_; }
  float scale() const { return scale_; }  // of the integers: max |x| / 32767
  // In int4's order: half word j of a group's 32 holds elements 4j + k, k < 4; their inputs stand at 32k + j.
  const int16_t* integers() const { return integers_.data(); }
  // int4: -8 times the sum of the integers of word j of a group's 16.
  const int32_t* offsets() const { return offsets_.data(); }
  static uint64_t buffer_bytes(DType dtype, size_t count);

 private:
  DType dtype_;
  size_t count_;
  const float* x_ = nullptr;
  float scale_ = 0;
  std::vector<int16_t> natural_;  // int4: before they are arranged
  std::vector<int16_t> integers_;
  std::vector<int32_t> offsets_;
};

// The row's dot with an input. Floats: kernels::dot. int8: the exact sum of each chunk of kIntegerChunk elements,
// added up in order as floats; then the two scales times that. int4: with n the nibbles of a group of 128, the exact
// sums of (n - 8) * integer over its 16 words of 8 elements; total[j] = fma(scale, word j's sum, total[j]) group by
// group, the 16 totals fold by halves, and the input's scale comes last.
constexpr size_t kIntegerChunk = 512;  // 512 * 128 * 32767 < 2^31
float dot_row(WeightRow row, const RowInput& input);

struct DotRow {
  WeightRow row;
  const std::byte* next = nullptr;  // values that are asked for soon, fetched into the caches meanwhile
};
// out[r] = dot_row of rows[r]: faster, for several.
void dot_rows(std::span<const DotRow> rows, const RowInput& input, float* out);

// The same for int8 and int4 rows alone.
void dot_integers(std::span<const DotRow> rows, const RowInput& input, float* out);

// A row times a factor.
struct Term {
  WeightRow row;
  float factor = 0;
};

// int4 has an order of its own for sums, in which unpacking needs no shuffle. A group of 128 elements is 16 words of 8
// nibbles; element 8j + k of the group stands at k * 16 + j, and a group takes 144 floats: the last 16 are the kernels'
// own. All other types keep the natural order.
constexpr size_t arranged_floats(DType dtype, size_t count) {
  return dtype == DType::kInt4 ? (count + kInt4Group - 1) / kInt4Group * 144 : count;
}
// The natural order into that of sums and back: [count] and [arranged_floats].
void arrange_sum(DType dtype, const float* values, float* sum, size_t count);
void restore_sum(DType dtype, const float* sum, float* values, size_t count);

constexpr size_t kTermsAtOnce = 16;  // that pass over the outputs together
// Sums may be cut at multiples of this.
constexpr size_t kSumAlign = 128;

// A part of a sum over the rows of one block, in the order of `terms`: for each output i, starting from 0,
// p[i] = fma(factor, row[i], p[i]), where int8 takes factor * scale for the factor. int4 takes f = factor * the group's
// scale, p[i] = fma(f, n * 16^t, p[i]) and offset = offset + f for the group, and in the end
// p[i] = fma(p[i], 1 / 16^t, -8 * offset).
struct BlockSum {
  std::span<const Term> terms;
  std::span<const Term> next;  // rows that are asked for soon
  bool open = false;           // `partial` holds the block's earlier terms; otherwise it is not read
  float* partial = nullptr;    // where the unfinished block is kept: [arranged_floats]
  float* sum = nullptr;        // with it the block ends: sum[i] += p[i]; [arranged_floats]. Without: it stays there
};
// For outputs [begin, end), each a multiple of kSumAlign or the row's end.
void sum_block(const BlockSum& block, DType dtype, size_t begin, size_t end);

namespace reference {
float dot_row(WeightRow row, const RowInput& input);
void sum_block(const BlockSum& block, DType dtype, size_t begin, size_t end);
// The integers of a RowInput in natural order, and their scale.
float round_input(const float* x, int16_t* integers, size_t count);
}  // namespace reference

}  // namespace flashneuron::kernels
