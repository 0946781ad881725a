// The two products of a sparse FFN, for weights of any element type with their scales: an up row times an input, and a
// block's sum of down columns. As in kernels.h, `reference` gives the same bits, and bits depend on the inputs alone.
//
// int4 has an order of its own for inputs and sums, in which unpacking needs no shuffle. A group of 128 elements is 16
// words of 8 nibbles; element 8j + k of the group stands at k * 16 + j, and a group takes 144 floats: the last 16 are
// the kernels' own. All other types keep the natural order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/dtype.h"

namespace flashneuron::kernels {

// A row of weights: row_bytes and scale_bytes of its type; no scales for floats.
struct WeightRow {
  const std::byte* values = nullptr;
  const std::byte* scales = nullptr;
};

// Floats that an input or a sum of `count` elements takes.
constexpr size_t arranged_floats(DType dtype, size_t count) {
  return dtype == DType::kInt4 ? (count + kInt4Group - 1) / kInt4Group * 144 : count;
}
// The natural order into the order of sums and back: [count] and [arranged_floats].
void arrange_sum(DType dtype, const float* values, float* sum, size_t count);
void restore_sum(DType dtype, const float* sum, float* values, size_t count);
// x as dot_row reads it; for other types than int4 that is x itself.
void arrange_input(DType dtype, const float* x, float* input, size_t count);

// The row's dot with an arranged input. Floats: kernels::dot. int8: that of the integers, times the scale. int4, with
// n the nibble of element 8j + k and t = k % 4: in each group lane j sums n * 16^t * (x / 16^t) by fma, even and odd k
// apart, the even ones from -8 * (sum of the lane's x) on; then total[j] = fma(scale, even + odd, total[j]), and the
// 16 lanes fold by halves.
float dot_row(WeightRow row, DType dtype, const float* input, size_t count);

struct DotRow {
  WeightRow row;
  const std::byte* next = nullptr;  // values that are asked for soon, fetched into the caches meanwhile
};
// out[r] = dot_row of rows[r]: faster, for several.
void dot_rows(std::span<const DotRow> rows, DType dtype, const float* input, size_t count, float* out);

// A row times a factor.
struct Term {
  WeightRow row;
  float factor = 0;
};

constexpr size_t kMaxTerms = 64;
// Sums may be cut at multiples of this.
constexpr size_t kSumAlign = 128;

// A part of a sum over the rows of one block, in the order of `terms`: for each output i, starting from 0,
// p[i] = fma(factor, row[i], p[i]), where int8 takes factor * scale for the factor. int4 takes f = factor * the group's
// scale, p[i] = fma(f, n * 16^t, p[i]) and offset = offset + f for the group, and in the end
// p[i] = fma(p[i], 1 / 16^t, -8 * offset).
struct BlockSum {
  std::span<const Term> terms;  // at most kMaxTerms
  std::span<const Term> next;   // rows that are asked for soon
  bool open = false;            // `partial` holds the block's earlier terms; otherwise it is not read
  float* partial = nullptr;     // where an unfinished block is kept: [arranged_floats]
  float* sum = nullptr;         // with it the block ends: sum[i] += p[i]; [arranged_floats]. Without: kept in partial
};
// For outputs [begin, end), each a multiple of kSumAlign or the row's end.
void sum_block(const BlockSum& block, DType dtype, size_t begin, size_t end);

namespace reference {
float dot_row(WeightRow row, DType dtype, const float* input, size_t count);
void sum_block(const BlockSum& block, DType dtype, size_t begin, size_t end);
}  // namespace reference

}  // namespace flashneuron::kernels
