// A reader whose reads fail on purpose.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>

#include "flash/flash_reader.h"

namespace flashneuron {

// Which reads fail: by their number in order of submission, from 0, or all of a file.
struct ReadFaults {
  std::set<uint64_t> reads;
  std::set<std::string> paths;
};

// A failed read completes with kIo and leaves its destination alone; all others go to `base`.
class FaultyReader : public FlashReader {
 public:
  FaultyReader(std::unique_ptr<FlashReader> base, ReadFaults faults);

  Result<uint32_t> open(const std::string& path) override;
  uint32_t block_bytes() const override { return base_->block_bytes(); }
  void submit(std::span<const ReadRequest> batch) override;
  void await(size_t count) override;
  std::optional<ReadCompletion> poll() override;
  int64_t busy_us() const override { return base_->busy_us(); }
  std::optional<std::string> buffered_reason() const override { return base_->buffered_reason(); }

 private:
  std::unique_ptr<FlashReader> base_;
  ReadFaults faults_;
  std::set<uint32_t> faulty_files_;
  uint64_t submitted_ = 0;
  std::deque<ReadCompletion> failed_;
};

}  // namespace flashneuron
