// A predictor's file, whole: every row of what is accepted can be read.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "package/predictor_file.h"

namespace {

unsigned sum_of(const std::byte* from, size_t bytes) {
  unsigned sum = 0;
  for (size_t i = 0; i < bytes; ++i) sum += static_cast<unsigned>(from[i]);
  return sum;
}

volatile unsigned kept = 0;  // so that the reads stay

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int file = memfd_create("fuzz", 0);
  if (file < 0 || ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  const auto read = flashneuron::read_lowrank("/proc/self/fd/" + std::to_string(file), "fuzz");
  if (!read.ok()) return read.status().message().empty() ? std::abort(), 1 : 0;
  const flashneuron::LowRankWeights& weights = read.value();
  kept = kept + sum_of(reinterpret_cast<const std::byte*>(weights.bias()), size_t{4} * weights.ffn_size);
  kept = kept + sum_of(weights.a(), weights.rank * flashneuron::row_bytes(weights.dtype, weights.hidden_size));
  kept = kept + sum_of(weights.b(), weights.ffn_size * flashneuron::row_bytes(weights.dtype, weights.rank));
  if (weights.a_scales() != nullptr) {
    kept = kept + sum_of(reinterpret_cast<const std::byte*>(weights.a_scales()), size_t{4} * weights.rank);
    kept = kept + sum_of(reinterpret_cast<const std::byte*>(weights.b_scales()), size_t{4} * weights.ffn_size);
  }
  return 0;
}
