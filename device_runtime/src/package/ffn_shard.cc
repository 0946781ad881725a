#include "package/ffn_shard.h"

#include <algorithm>

#include "package/binary_header.h"
#include "package/limits.h"

namespace flashneuron {

Result<FfnShardHeader> parse_ffn_header(std::span<const std::byte> head, uint64_t file_bytes, const std::string& name) {
  constexpr char kMagic[8] = {'F', 'N', 'F', 'F', 'N', 0, 0, 1};
  FN_ASSIGN_OR_RETURN(const BinaryHeader header, BinaryHeader::open(head, kMagic, kFfnHeaderBytes, name));
  FN_RETURN_IF_ERROR(header.check(12, "part", 0, 3));
  FN_RETURN_IF_ERROR(header.check(16, "dtype", 0, kMaxDType));
  FN_RETURN_IF_ERROR(header.check(20, "layer", 0, kMaxLayers - 1));
  FN_RETURN_IF_ERROR(header.check(24, "hidden_size", 1, kMaxSize));
  FN_RETURN_IF_ERROR(header.check(28, "ffn_size", 1, kMaxSize));
  const FfnShardHeader shard{.part = static_cast<FfnPart>(header.u32(12)),
                             .dtype = static_cast<DType>(header.u32(16)),
                             .layer = header.u32(20),
                             .hidden_size = header.u32(24),
                             .ffn_size = header.u32(28),
                             .first_neuron = header.u32(32),
                             .neuron_count = header.u32(36),
                             .neurons_per_shard = header.u32(40),
                             .record_bytes = header.u32(44),
                             .stride = header.u32(48)};
  FN_RETURN_IF_ERROR(header.check(40, "neurons_per_shard", 1, kMaxSize));
  FN_RETURN_IF_ERROR(header.check(32, "first_neuron", 0, shard.ffn_size - 1));
  if (shard.first_neuron % shard.neurons_per_shard != 0) {
    return header.corrupt("first_neuron is not a multiple of neurons_per_shard");
  }
  const uint32_t count = std::min(shard.neurons_per_shard, shard.ffn_size - shard.first_neuron);
  FN_RETURN_IF_ERROR(header.check(36, "neuron_count", count, count));
  // Whether a bundle has a gate is the manifest's to say; here its record must be of one kind or the other.
  const uint32_t gated_bytes = ffn_record_bytes(shard.part, shard.dtype, shard.hidden_size, true);
  const uint32_t record_bytes = shard.record_bytes == gated_bytes
                                    ? gated_bytes
                                    : ffn_record_bytes(shard.part, shard.dtype, shard.hidden_size, false);
  FN_RETURN_IF_ERROR(header.check(44, "record_bytes", record_bytes, record_bytes));
  FN_RETURN_IF_ERROR(header.check(48, "stride", ffn_stride(record_bytes), ffn_stride(record_bytes)));
  FN_RETURN_IF_ERROR(header.check_zeros(52));
  const uint64_t bytes = kFfnHeaderBytes + uint64_t{count} * shard.stride;
  if (bytes > kMaxShardBytes) return header.corrupt("is over 256 MiB");
  if (file_bytes != bytes) {
    return header.corrupt("has " + std::to_string(file_bytes) + " bytes, its header needs " + std::to_string(bytes));
  }
  return shard;
}

}  // namespace flashneuron
