#include "flash/recording_reader.h"

namespace flashneuron {

Result<uint32_t> RecordingReader::open(const std::string& path) {
  FN_ASSIGN_OR_RETURN(const uint32_t file, base_->open(path));
  if (file >= paths_.size()) paths_.resize(file + 1);
  paths_[file] = path;
  return file;
}

void RecordingReader::submit(std::span<const ReadRequest> batch) {
  requests_.insert(requests_.end(), batch.begin(), batch.end());
  base_->submit(batch);
}

}  // namespace flashneuron
