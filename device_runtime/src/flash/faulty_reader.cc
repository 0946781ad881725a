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

void FaultyReader::await(size_t count) {
  if (count > failed_.size()) base_->await(count - failed_.size());
}

std::optional<ReadCompletion> FaultyReader::poll() {
  if (failed_.empty()) return base_->poll();
  ReadCompletion completion = std::move(failed_.front());
  failed_.pop_front();
  return completion;
}

}  // namespace flashneuron
