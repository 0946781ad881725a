// The files of a package as bytes, written from FORMAT.md for tests: no code of the runtime's readers is used, so that
// a misreading on one side cannot hide behind the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace flashneuron::testing {

using Bytes = std::vector<std::byte>;

// Rows of a float type.
Bytes elements(std::span<const float> values, DType dtype);
// One row of any type as it is stored, rounded to nearest, and the values that it then stands for.
struct StoredRow {
  Bytes values;
  Bytes scales;  // empty for floats
  std::vector<float> decoded;
};
StoredRow stored_row(std::span<const float> row, DType dtype);
// The same of a matrix's rows of `width`, one after the other.
StoredRow stored_rows(std::span<const float> values, size_t width, DType dtype);
std::string sha256(std::span<const std::byte> bytes);
// Creates the parent folders. Throws std::runtime_error.
void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

struct ShardShape {
  uint32_t part = 0;  // 0 bundle, 1 up, 2 down, 3 gate
  DType dtype = DType::kFp32;
  uint32_t layer = 0;
  uint32_t hidden_size = 0;
  uint32_t ffn_size = 0;
  uint32_t neurons_per_shard = 0;
};

// One shard of neurons first, first + 1, … A record holds the neuron's row of each of `matrices`, [ffn_size,
// hidden_size].
Bytes ffn_shard(const ShardShape& shape, uint32_t first, const std::vector<std::span<const float>>& matrices);

struct PredictorShape {
  DType dtype = DType::kFp32;
  uint32_t layer = 0;
  uint32_t hidden_size = 0;
  uint32_t ffn_size = 0;
  uint32_t rank = 0;
  bool relu = false;
};

// bias is [ffn_size], a [rank, hidden_size], b [ffn_size, rank].
Bytes predictor_file(const PredictorShape& shape, std::span<const float> bias, std::span<const float> a,
                     std::span<const float> b);

}  // namespace flashneuron::testing
