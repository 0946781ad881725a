// Hashes files while they arrive, so that a push is verified when its last byte is there.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "flashneuron/status.h"

namespace flashneuron {

struct Arrival {
  std::string path;
  uint64_t bytes = 0;  // that it will have
};

struct ArrivalListener {
  std::function<void(const Arrival&, const std::string& sha256)> on_hash;  // of its first `bytes` bytes
  std::function<void()> wait;  // nothing new is there; returns when it is worth another look
};

// Reads each file as it grows, also one that is not there yet, in about the order given, until all have their size. Has
// no end of its own where nothing comes any more: `wait` may not return. Whoever writes the files must only append; one
// that shrinks ends the process (SIGBUS). Errors: kIo, kInternal.
Status hash_arriving(std::span<const Arrival> arrivals, const ArrivalListener& listener);

}  // namespace flashneuron
