// Files to read and memory to read into.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/aligned_buffer.h"
#include "flash/flash_reader.h"

namespace flashneuron::testing {

// The byte of a test file at `offset`: any two blocks differ.
inline std::byte pattern(uint64_t offset) { return static_cast<std::byte>((offset * 31 + offset / 4096 * 17) & 255); }

// Writes a file of `bytes` bytes of the pattern and brings it to storage.
void write_pattern(const std::string& path, uint64_t bytes);

inline AlignedBuffer memory(size_t bytes) { return std::move(AlignedBuffer::create(bytes)).value(); }

// Waits for all that is outstanding: statuses by tag.
std::map<uint64_t, Status> drain(FlashReader& reader);

}  // namespace flashneuron::testing
