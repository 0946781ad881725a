#include "telemetry/trace.h"

namespace flashneuron {

void Trace::name_file(uint32_t number, const std::string& name, std::optional<uint32_t> layer) {
  if (number >= files_.size()) files_.resize(number + 1);
  File& file = files_[number];
  if (!file.name.empty() && file.layer != layer) {
    file.layer.reset();
    return;
  }
  file = {name, layer};
}

size_t Trace::dropped() const {
  size_t dropped = compute_.dropped();
  for (const ReadTrack& track : reads_) dropped += track.dropped();
  return dropped;
}

}  // namespace flashneuron
