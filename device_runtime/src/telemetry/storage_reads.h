// What the kernel says was fetched from storage, page cache excluded.
#pragma once

#include <cstdint>
#include <optional>

namespace flashneuron {

// read_bytes of the calling thread, or of the process, so far; nullopt where the kernel does not count.
std::optional<uint64_t> thread_storage_bytes();
std::optional<uint64_t> process_storage_bytes();

}  // namespace flashneuron
