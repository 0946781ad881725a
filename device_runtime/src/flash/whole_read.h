// One request read whole, however the kernel cuts it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>

#include "flash/flash_reader.h"

namespace flashneuron {

// pread of one file: (destination, bytes, offset) → bytes read, or the negative errno.
using Pread = std::function<ssize_t(std::byte*, size_t, uint64_t)>;

// Fills request.destination up to the end of a file of `file_bytes`. Repeats interrupted reads; goes on after short
// ones from the start of the block that they broke off in, because a direct read may only start at one. Error: kIo,
// without the file's name.
Status read_whole(const Pread& pread, const ReadRequest& request, uint64_t file_bytes, uint32_t block_bytes);

}  // namespace flashneuron
