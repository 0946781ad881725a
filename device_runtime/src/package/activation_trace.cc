#include "package/activation_trace.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "package/binary_header.h"
#include "package/limits.h"

namespace flashneuron {
namespace {

constexpr uint32_t kTraceHeaderBytes = 64;

uint64_t words(uint32_t ffn_size) { return (uint64_t{ffn_size} + 63) / 64; }

}  // namespace

Result<ActivationTrace> ActivationTrace::open(const std::string& path, const std::string& name) {
  ActivationTrace trace;
  FN_ASSIGN_OR_RETURN(trace.file_, MappedFile::open(path));
  const std::span<const std::byte> bytes = trace.file_->bytes();
  constexpr char kMagic[8] = {'F', 'N', 'T', 'R', 'A', 'C', 'E', 1};
  const std::span<const std::byte> head = bytes.first(std::min<size_t>(bytes.size(), kTraceHeaderBytes));
  FN_ASSIGN_OR_RETURN(const BinaryHeader header, BinaryHeader::open(head, kMagic, kTraceHeaderBytes, name));
  FN_RETURN_IF_ERROR(header.check(12, "layers", 1, kMaxLayers));
  FN_RETURN_IF_ERROR(header.check(16, "ffn_size", 1, kMaxSize));
  FN_RETURN_IF_ERROR(header.check(20, "tokens", 1, kMaxSize));
  FN_RETURN_IF_ERROR(header.check(24, "kinds", 1, 2));
  FN_RETURN_IF_ERROR(header.check_zeros(28));
  trace.name_ = name;
  trace.layers_ = header.u32(12);
  trace.ffn_size_ = header.u32(16);
  trace.tokens_ = header.u32(20);
  trace.kinds_ = header.u32(24);
  const uint64_t needed =
      kTraceHeaderBytes + uint64_t{trace.layers_} * trace.kinds_ * trace.tokens_ * words(trace.ffn_size_) * 8;
  if (bytes.size() != needed) {
    return header.corrupt("has " + std::to_string(bytes.size()) + " bytes, its header needs " + std::to_string(needed));
  }
  return trace;
}

Result<std::vector<uint32_t>> ActivationTrace::row(uint32_t layer, uint32_t kind, uint32_t token) const {
  const uint64_t row = words(ffn_size_);
  const std::byte* const from = file_->bytes().data() + kTraceHeaderBytes +
                                ((uint64_t{layer} * kinds_ + kind) * tokens_ + token) * row * sizeof(uint64_t);
  std::vector<uint32_t> neurons;
  for (uint64_t i = 0; i < row; ++i) {
    uint64_t word = 0;
    std::memcpy(&word, from + i * sizeof(word), sizeof(word));
    for (; word != 0; word &= word - 1)
      neurons.push_back(static_cast<uint32_t>(i * 64) + static_cast<uint32_t>(std::countr_zero(word)));
  }
  if (!neurons.empty() && neurons.back() >= ffn_size_) {
    return Status(StatusCode::kCorrupt, name_ + ": selects a neuron that the model does not have; copy it again");
  }
  return neurons;
}

}  // namespace flashneuron
