#include "package/binary_header.h"

namespace flashneuron {
namespace {

constexpr size_t kLeastBytes = 64;  // every field of every header lies within

}  // namespace

Result<BinaryHeader> BinaryHeader::open(std::span<const std::byte> head, std::span<const char, 8> magic,
                                        uint32_t header_bytes, std::string name) {
  const BinaryHeader header(head.first(std::min<size_t>(head.size(), header_bytes)), std::move(name));
  if (head.size() < kLeastBytes) return header.corrupt("is too short to hold its header");
  const auto same = [&](char wanted, std::byte found) { return std::to_integer<char>(found) == wanted; };
  if (!std::equal(magic.begin(), magic.end() - 1, head.begin(), same)) {
    return header.corrupt("does not start with the magic of its kind");
  }
  const auto version = std::to_integer<uint32_t>(head[7]);
  const auto newest = static_cast<uint32_t>(magic[7]);
  if (version > newest) {
    return Status(StatusCode::kNewerFormat, header.name_ + ": is of format version " + std::to_string(version) +
                                                ", this runtime reads up to " + std::to_string(newest) +
                                                "; use a newer flashneuron");
  }
  if (version == 0) return header.corrupt("has format version 0");
  FN_RETURN_IF_ERROR(header.check(8, "header_bytes", header_bytes, header_bytes));
  return header;
}

uint32_t BinaryHeader::u32(size_t offset) const {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | std::to_integer<uint32_t>(head_[offset + i]);
  return value;
}

Status BinaryHeader::check(size_t offset, const std::string& field, uint32_t least, uint32_t most) const {
  const uint32_t value = u32(offset);
  if (value >= least && value <= most) return {};
  const std::string wanted =
      least == most ? std::to_string(least) : std::to_string(least) + " to " + std::to_string(most);
  return corrupt(field + " is " + std::to_string(value) + ", must be " + wanted);
}

Status BinaryHeader::check_zeros(size_t begin) const {
  const std::span<const std::byte> rest = head_.subspan(begin);
  const bool zero = std::all_of(rest.begin(), rest.end(), [](std::byte value) { return value == std::byte{0}; });
  return zero ? Status() : corrupt("has bytes other than zero after the fields of its header");
}

Status BinaryHeader::corrupt(const std::string& problem) const {
  return {StatusCode::kCorrupt, name_ + ": " + problem + "; push or copy the package again"};
}

}  // namespace flashneuron
