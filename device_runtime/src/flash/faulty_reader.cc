#include "flash/faulty_reader.h"

#include <utility>
#include <vector>

namespace flashneuron {

FaultyReader::FaultyReader(std::unique_ptr<FlashReader> base, ReadFaults faults)
    : base_(std::move(base)), faults_(std::move(faults)) {}

Result<uint32_t> FaultyReader::open(const std::string& path) {
  FN_ASSIGN_OR_RETURN(const uint32_t file, base_->open(path));
  if (faults_.paths.contains(path)) faulty_files_.insert(file);
  return file;
}

void FaultyReader::submit(std::span<const ReadRequest> batch) {
  std::vector<ReadRequest> sound;
  for (const ReadRequest& request : batch) {
    const uint64_t number = submitted_++;
    if (faults_.reads.contains(number) || faulty_files_.contains(request.file)) {
      failed_.push_back({request.tag, Status(StatusCode::kIo, "injected fault in read " + std::to_string(number) +
                                                                  " at " + std::to_string(request.offset))});
    } else {
      sound.push_back(request);
    }
  }
  base_->submit(sound);
}

std::optional<ReadCompletion> FaultyReader::wait() {
  std::optional<ReadCompletion> failed = take_failed();
  return failed ? std::move(failed) : base_->wait();
}

std::optional<ReadCompletion> FaultyReader::poll() {
  std::optional<ReadCompletion> failed = take_failed();
  return failed ? std::move(failed) : base_->poll();
}

std::optional<ReadCompletion> FaultyReader::take_failed() {
  if (failed_.empty()) return std::nullopt;
  ReadCompletion completion = std::move(failed_.front());
  failed_.pop_front();
  return completion;
}

}  // namespace flashneuron
