#include "support/package_files.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string_view>

#include "kernels/fp16.h"
#include "kernels/kernels.h"
#include "package/sha256.h"

namespace flashneuron::testing {
namespace {

constexpr size_t kShardHeaderBytes = 16384;
constexpr size_t kPredictorHeaderBytes = 64;
constexpr size_t kAlign = 64;

void put(Bytes& bytes, size_t offset, std::string_view text) {
  std::memcpy(bytes.data() + offset, text.data(), text.size());
}
void put(Bytes& bytes, size_t offset, uint32_t value) { std::memcpy(bytes.data() + offset, &value, sizeof(value)); }
void append(Bytes& bytes, const Bytes& more) { bytes.insert(bytes.end(), more.begin(), more.end()); }
void pad(Bytes& bytes) { bytes.resize((bytes.size() + kAlign - 1) / kAlign * kAlign); }

}  // namespace

Bytes elements(std::span<const float> values, DType dtype) {
  Bytes bytes(row_bytes(dtype, values.size()));
  kernels::reference::from_fp32(values.data(), dtype, bytes.data(), values.size());
  return bytes;
}

StoredRow stored_row(std::span<const float> row, DType dtype) {
  StoredRow stored{.values = {}, .scales = {}, .decoded = {row.begin(), row.end()}};
  if (!has_scales(dtype)) {
    stored.values = elements(row, dtype);
    kernels::reference::to_fp32(stored.values.data(), dtype, stored.decoded.data(), row.size());
    return stored;
  }
  stored.values.resize(row_bytes(dtype, row.size()));
  const size_t group = dtype == DType::kInt8 ? row.size() : kInt4Group;
  const float largest = dtype == DType::kInt8 ? 127.0f : 7.0f;
  for (size_t first = 0; first < row.size(); first += group) {
    const std::span<const float> part = row.subspan(first, std::min(group, row.size() - first));
    float most = 0;
    for (const float value : part) most = std::max(most, std::abs(value));
    const std::vector<float> scale = {most > 0 ? most / largest : 1.0f};
    append(stored.scales, elements(scale, dtype == DType::kInt8 ? DType::kFp32 : DType::kFp16));
    const float rounded = dtype == DType::kInt8 ? scale[0] : kernels::half_to_float(kernels::float_to_half(scale[0]));
    for (size_t i = first; i < first + part.size(); ++i) {
      const int n = static_cast<int>(std::clamp(std::nearbyint(row[i] / rounded), -largest - 1, largest));
      if (dtype == DType::kInt8) {
        stored.values[i] = static_cast<std::byte>(n);
      } else {
        stored.values[i / 2] |= static_cast<std::byte>((n + 8) << (i % 2 * 4));
      }
      stored.decoded[i] = static_cast<float>(n) * rounded;
    }
  }
  return stored;
}

StoredRow stored_rows(std::span<const float> values, size_t width, DType dtype) {
  StoredRow all;
  for (size_t first = 0; first < values.size(); first += width) {
    const StoredRow row = stored_row(values.subspan(first, width), dtype);
    append(all.values, row.values);
    append(all.scales, row.scales);
    all.decoded.insert(all.decoded.end(), row.decoded.begin(), row.decoded.end());
  }
  return all;
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  if (!hash.add(bytes).ok()) throw std::runtime_error("SHA-256 failed");
  return hash.finish().value();
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

Bytes ffn_shard(const ShardShape& shape, uint32_t first, const std::vector<std::span<const float>>& matrices) {
  using namespace std::string_view_literals;
  const uint32_t count = std::min(shape.neurons_per_shard, shape.ffn_size - first);
  const auto vector = static_cast<uint32_t>(row_bytes(shape.dtype, shape.hidden_size));
  const uint32_t record = static_cast<uint32_t>(matrices.size()) * vector;
  const uint32_t stride = (record + 63) / 64 * 64;
  Bytes bytes(kShardHeaderBytes);
  put(bytes, 0, "FNFFN\0\0\1"sv);
  const uint32_t fields[] = {kShardHeaderBytes,
                             shape.part,
                             static_cast<uint32_t>(shape.dtype),
                             shape.layer,
                             shape.hidden_size,
                             shape.ffn_size,
                             first,
                             count,
                             shape.neurons_per_shard,
                             record,
                             stride};
  for (size_t i = 0; i < std::size(fields); ++i) put(bytes, 8 + 4 * i, fields[i]);
  for (uint32_t neuron = first; neuron < first + count; ++neuron) {
    const size_t row = size_t{neuron} * shape.hidden_size;
    for (const std::span<const float> matrix : matrices) {
      append(bytes, stored_row(matrix.subspan(row, shape.hidden_size), shape.dtype).values);
    }
    pad(bytes);
  }
  return bytes;
}

Bytes predictor_file(const PredictorShape& shape, std::span<const float> bias, std::span<const float> a,
                     std::span<const float> b) {
  using namespace std::string_view_literals;
  Bytes bytes(kPredictorHeaderBytes);
  put(bytes, 0, shape.relu ? "FNPRED\0\2"sv : "FNPRED\0\1"sv);
  const uint32_t fields[] = {kPredictorHeaderBytes, shape.layer, shape.hidden_size,
                             shape.ffn_size,        shape.rank,  static_cast<uint32_t>(shape.dtype),
                             shape.relu ? 1u : 0u};
  for (size_t i = 0; i < std::size(fields); ++i) put(bytes, 8 + 4 * i, fields[i]);
  const StoredRow stored_a = stored_rows(a, shape.hidden_size, shape.dtype);
  const StoredRow stored_b = stored_rows(b, shape.rank, shape.dtype);
  append(bytes, elements(bias, DType::kFp32));
  append(bytes, stored_a.scales);
  append(bytes, stored_b.scales);
  pad(bytes);
  append(bytes, stored_a.values);
  pad(bytes);
  append(bytes, stored_b.values);
  return bytes;
}

}  // namespace flashneuron::testing
