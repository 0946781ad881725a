// The runner without its process: arguments and streams in, exit status out.
#pragma once

#include <iosfwd>
#include <span>

namespace flashneuron {

// Carries out one verb of PROTOCOL.md. Events go to `out`, one line each, flushed as they come. Returns the exit
// status: 0 done, 1 failed while running, 2 refused before running.
int run_verb(std::span<const char* const> words, std::istream& in, std::ostream& out);

}  // namespace flashneuron
