// SHA-256 of a file: what `packages verify` and the push compare with the manifest.
#pragma once

#include <string>

#include "flashneuron/status.h"

namespace flashneuron {

// 64 lower-case hexadecimal digits. Errors: kNotFound, kIo.
Result<std::string> sha256_file(const std::string& path);

}  // namespace flashneuron
