// A reader that remembers what it was asked for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "flash/flash_reader.h"

namespace flashneuron {

class RecordingReader : public FlashReader {
 public:
  explicit RecordingReader(std::unique_ptr<FlashReader> base) : base_(std::move(base)) {}

  // Every request so far in order of submission. Destinations may be gone.
  const std::vector<ReadRequest>& requests() const { return requests_; }
  // Paths by file number.
  const std::vector<std::string>& paths() const { return paths_; }
  void forget() { requests_.clear(); }

  Result<uint32_t> open(const std::string& path) override;
  uint32_t block_bytes() const override { return base_->block_bytes(); }
  void submit(std::span<const ReadRequest> batch) override;
  void await(size_t count) override { base_->await(count); }
  std::optional<ReadCompletion> poll() override { return base_->poll(); }
  int64_t busy_us() const override { return base_->busy_us(); }
  std::optional<std::string> buffered_reason() const override { return base_->buffered_reason(); }

 private:
  std::unique_ptr<FlashReader> base_;
  std::vector<ReadRequest> requests_;
  std::vector<std::string> paths_;
};

}  // namespace flashneuron
