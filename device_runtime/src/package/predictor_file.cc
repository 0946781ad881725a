#include "package/predictor_file.h"

#include <algorithm>
#include <array>

#include "core/align.h"
#include "package/binary_header.h"
#include "package/file_io.h"
#include "package/limits.h"

namespace flashneuron {

uint64_t LowRankHeader::a_offset() const {
  const uint64_t scales = dtype == DType::kInt8 ? uint64_t{4} * (uint64_t{rank} + ffn_size) : 0;
  return round_up(kLowRankHeaderBytes + uint64_t{4} * ffn_size + scales, 64);
}

uint64_t LowRankHeader::b_offset() const {
  return round_up(a_offset() + uint64_t{rank} * row_bytes(dtype, hidden_size), 64);
}

uint64_t LowRankHeader::file_bytes() const { return b_offset() + uint64_t{ffn_size} * row_bytes(dtype, rank); }

const float* LowRankWeights::bias() const { return reinterpret_cast<const float*>(file.data() + kLowRankHeaderBytes); }
const float* LowRankWeights::a_scales() const { return dtype == DType::kInt8 ? bias() + ffn_size : nullptr; }
const float* LowRankWeights::b_scales() const { return dtype == DType::kInt8 ? bias() + ffn_size + rank : nullptr; }
const std::byte* LowRankWeights::a() const { return file.data() + a_offset(); }
const std::byte* LowRankWeights::b() const { return file.data() + b_offset(); }

Result<LowRankHeader> parse_lowrank_header(std::span<const std::byte> head, uint64_t file_bytes,
                                           const std::string& name) {
  constexpr char kMagic[8] = {'F', 'N', 'P', 'R', 'E', 'D', 0, 2};
  FN_ASSIGN_OR_RETURN(const BinaryHeader header, BinaryHeader::open(head, kMagic, kLowRankHeaderBytes, name));
  FN_RETURN_IF_ERROR(header.check(12, "layer", 0, kMaxLayers - 1));
  FN_RETURN_IF_ERROR(header.check(16, "hidden_size", 1, kMaxSize));
  FN_RETURN_IF_ERROR(header.check(20, "ffn_size", 1, kMaxSize));
  FN_RETURN_IF_ERROR(header.check(24, "rank", 1, kMaxRank));
  FN_RETURN_IF_ERROR(header.check(28, "dtype", 0, static_cast<uint32_t>(DType::kInt8)));
  const uint32_t functions = std::to_integer<uint32_t>(head[7]) == 1 ? 0 : 1;  // of the file's version: up to this
  FN_RETURN_IF_ERROR(header.check(32, "function between the matrices", 0, functions));
  FN_RETURN_IF_ERROR(header.check_zeros(36));
  const LowRankHeader facts{.layer = header.u32(12),
                            .hidden_size = header.u32(16),
                            .ffn_size = header.u32(20),
                            .rank = header.u32(24),
                            .dtype = static_cast<DType>(header.u32(28)),
                            .relu = header.u32(32) == 1};
  if (file_bytes != facts.file_bytes()) {
    return header.corrupt("has " + std::to_string(file_bytes) + " bytes, its header needs " +
                          std::to_string(facts.file_bytes()));
  }
  return facts;
}

Result<LowRankWeights> read_lowrank(const std::string& path, const std::string& name) {
  FN_ASSIGN_OR_RETURN(const InputFile file, InputFile::open(path));
  std::array<std::byte, kLowRankHeaderBytes> bytes = {};
  const std::span<std::byte> head = std::span(bytes).first(std::min<uint64_t>(bytes.size(), file.bytes()));
  FN_RETURN_IF_ERROR(file.read(0, head));
  LowRankWeights weights;
  FN_ASSIGN_OR_RETURN(static_cast<LowRankHeader&>(weights), parse_lowrank_header(head, file.bytes(), name));
  FN_ASSIGN_OR_RETURN(weights.file, AlignedBuffer::create(file.bytes()));
  FN_RETURN_IF_ERROR(file.read(0, weights.file.span().first(file.bytes())));
  return weights;
}

}  // namespace flashneuron
