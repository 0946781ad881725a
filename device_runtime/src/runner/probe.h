// The verb `probe`: the flash curve, cold, hot and by kind of core, and the DRAM bandwidth of the device.
#pragma once

#include <functional>

#include "flashneuron/status.h"
#include "runner/arguments.h"
#include "runner/events.h"

namespace flashneuron {

// Keys as PROTOCOL.md gives them. Errors: kUsage; those of ScratchFile::create; kIo.
Status probe(const Keys& keys, const std::function<void(const Json&)>& emit);

}  // namespace flashneuron
