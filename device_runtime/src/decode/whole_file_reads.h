// Residency naive: weight files that DRAM holds anyway (attention, head, embedding) are read whole for every token and
// discarded, at the best sequential size, so that a token costs what it would cost without any DRAM.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "decode/read_batch.h"
#include "flash/flash_reader.h"
#include "flashneuron/stats.h"
#include "flashneuron/status.h"
#include "package/package.h"

namespace flashneuron {

class WholeFileReads {
 public:
  // Files by manifest name. References must outlive it. Errors: those of FlashReader::open.
  static Result<WholeFileReads> open(const Package& package, const std::vector<std::string>& names, Staging& staging);
  // Errors: kIo.
  Status read_all(Counters& counters);

 private:
  explicit WholeFileReads(Staging& staging) : staging_(&staging) {}

  Staging* staging_;
  std::vector<std::pair<uint32_t, uint64_t>> files_;  // reader's number, bytes
};

}  // namespace flashneuron
