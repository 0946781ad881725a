// An FFN shard's header (8 bytes: the file's size; then the file's beginning): every record of what is accepted lies
// inside the file.
#include <cstdlib>
#include <cstring>
#include <span>

#include "package/ffn_shard.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint64_t file_bytes = 0;
  if (size < sizeof(file_bytes)) return 0;
  std::memcpy(&file_bytes, data, sizeof(file_bytes));
  const auto head = std::as_bytes(std::span(data, size)).subspan(sizeof(file_bytes));
  const auto header = flashneuron::parse_ffn_header(head, file_bytes, "fuzz");
  if (!header.ok()) return header.status().message().empty() ? std::abort(), 1 : 0;
  const flashneuron::FfnShardHeader& shard = header.value();
  const uint64_t last = flashneuron::kFfnHeaderBytes + (uint64_t{shard.neuron_count} - 1) * shard.stride;
  if (shard.neuron_count == 0 || last + shard.record_bytes > file_bytes || file_bytes > flashneuron::kMaxShardBytes) {
    std::abort();
  }
  return 0;
}
