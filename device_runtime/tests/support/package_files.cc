#include "support/package_files.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string_view>

#include "kernels/kernels.h"

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

std::string sha256(std::span<const std::byte> bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("SHA-256 failed");
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex.append({kDigits[digest[i] >> 4], kDigits[digest[i] & 15]});
  return hex;
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

Bytes ffn_shard(const ShardShape& shape, uint32_t first, std::span<const float> up, std::span<const float> down) {
  using namespace std::string_view_literals;
  const uint32_t count = std::min(shape.neurons_per_shard, shape.ffn_size - first);
  const auto vector = static_cast<uint32_t>(row_bytes(shape.dtype, shape.hidden_size));
  const uint32_t record = (shape.part == 0 ? 2 : 1) * vector;
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
    if (shape.part != 2) append(bytes, elements(up.subspan(row, shape.hidden_size), shape.dtype));
    if (shape.part != 1) append(bytes, elements(down.subspan(row, shape.hidden_size), shape.dtype));
    pad(bytes);
  }
  return bytes;
}

Bytes predictor_file(const PredictorShape& shape, std::span<const float> bias, std::span<const float> a,
                     std::span<const float> b) {
  using namespace std::string_view_literals;
  Bytes bytes(kPredictorHeaderBytes);
  put(bytes, 0, "FNPRED\0\1"sv);
  const uint32_t fields[] = {kPredictorHeaderBytes, shape.layer, shape.hidden_size,
                             shape.ffn_size,        shape.rank,  static_cast<uint32_t>(shape.dtype)};
  for (size_t i = 0; i < std::size(fields); ++i) put(bytes, 8 + 4 * i, fields[i]);
  append(bytes, elements(bias, DType::kFp32));
  pad(bytes);
  append(bytes, elements(a, shape.dtype));
  pad(bytes);
  append(bytes, elements(b, shape.dtype));
  return bytes;
}

}  // namespace flashneuron::testing
