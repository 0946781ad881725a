// What the binary headers of a package have in common: magic with the version in its last byte, header size, fields
// that are u32, zeros to the end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "flashneuron/status.h"

namespace flashneuron {

class BinaryHeader {
 public:
  // `head`: the file's first bytes. `magic`: 8 bytes, the last of them the newest version that is read. `header_bytes`
  // must be what stands at offset 8. Errors: kCorrupt, kNewerFormat. `head` must outlive the header.
  static Result<BinaryHeader> open(std::span<const std::byte> head, std::span<const char, 8> magic,
                                   uint32_t header_bytes, std::string name);

  // The little-endian u32 at `offset`. Precondition: offset <= 60.
  uint32_t u32(size_t offset) const;
  // Fails unless least <= u32(offset) <= most.
  Status check(size_t offset, const std::string& field, uint32_t least, uint32_t most) const;
  // Fails unless what is there of [begin, header_bytes) is zero.
  Status check_zeros(size_t begin) const;
  // kCorrupt, "NAME: PROBLEM".
  Status corrupt(const std::string& problem) const;

 private:
  BinaryHeader(std::span<const std::byte> head, std::string name) : head_(head), name_(std::move(name)) {}

  std::span<const std::byte> head_;  // at most header_bytes of the file
  std::string name_;
};

}  // namespace flashneuron
