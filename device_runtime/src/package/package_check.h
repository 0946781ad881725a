// The headers of a package's binary files against its manifest: what Package::open does not look into.
#pragma once

#include "flashneuron/status.h"
#include "package/package.h"

namespace flashneuron {

// Opens every FFN shard and predictor and checks that its header is sound and fits its place in the manifest: layer,
// part, element type, sizes, and shards that follow each other from place 0 to the last. Reads headers, and lists of
// places and frequencies; other contents are verified when a package is pushed (sha256.h). Errors: kIo, kCorrupt,
// kNewerFormat, each naming the file.
Status check_package(const Package& package);

}  // namespace flashneuron
