#include "weight_matrix.h"

#include <cstring>
#include <stdexcept>

#include "kernels/kernels.h"

namespace flashneuron {

WeightMatrix::WeightMatrix(uint32_t hidden_size, uint64_t bytes) : hidden_size_(hidden_size) {
  Result<AlignedBuffer> memory = AlignedBuffer::create(bytes);
  if (!memory.ok()) throw std::runtime_error(memory.status().message());
  memory_ = std::move(memory).value();
}

void WeightMatrix::fill(DType dtype) {
  dtype_ = dtype;
  // A pattern of a length that no power of two divides, repeated: what matters is that every line is another.
  std::vector<std::byte> pattern(8192 * 13 + 4);
  if (has_scales(dtype)) {
    for (std::byte& byte : pattern) byte = static_cast<std::byte>(random_());
  } else {
    std::vector<float> values(pattern.size() / 4);
    for (float& value : values) value = static_cast<float>(random_() >> 40) * 0x1p-24f - 0.5f;
    kernels::from_fp32(values.data(), dtype, pattern.data(), values.size());
    pattern.resize(row_bytes(dtype, values.size()));
  }
  const std::span<std::byte> memory = memory_.span();
  for (size_t at = 0; at < memory.size(); at += pattern.size()) {
    std::memcpy(memory.data() + at, pattern.data(), std::min(pattern.size(), memory.size() - at));
  }
  scales_.assign(scale_bytes(dtype, hidden_size_), std::byte{0});
  const std::vector<float> scale(scales_.size() / (dtype == DType::kInt8 ? 4 : 2), 0.0078125f);
  if (has_scales(dtype)) {
    const DType element = dtype == DType::kInt8 ? DType::kFp32 : DType::kFp16;
    kernels::from_fp32(scale.data(), element, scales_.data(), scale.size());
  }
}

std::vector<NeuronRow> WeightMatrix::draw(uint32_t ffn_size, double share) {
  const size_t vector = row_bytes(dtype_, hidden_size_);
  const size_t records = memory_.span().size() / (2 * vector);
  std::vector<NeuronRow> rows;
  const size_t first = random_() % (records - std::min<size_t>(records, ffn_size) + 1);
  for (uint32_t neuron = 0; share == 1 && neuron < std::min<size_t>(records, ffn_size); ++neuron) {
    const std::byte* up = memory_.span().data() + (first + neuron) * 2 * vector;
    rows.push_back({neuron, up, up + vector, scales_.data(), scales_.data()});
  }
  if (share == 1) return rows;
  for (uint32_t neuron = 0; neuron < ffn_size; ++neuron) {
    if (static_cast<double>(random_() >> 11) * 0x1p-53 >= share) continue;
    const std::byte* up = memory_.span().data() + random_() % records * 2 * vector;
    rows.push_back({neuron, up, up + vector, scales_.data(), scales_.data()});
  }
  return rows;
}

}  // namespace flashneuron
