// A trace as a file in Chrome's JSON trace event format, for ui.perfetto.dev and chrome://tracing (PROTOCOL.md,
// "Trace").
#pragma once

#include <memory>
#include <ostream>
#include <string>

#include "flashneuron/status.h"
#include "runner/events.h"
#include "telemetry/trace.h"

namespace flashneuron {

// The whole file. `other` becomes otherData, with the number of dropped spans.
void print_trace(const Trace& trace, Json other, std::ostream& out);

// `path` appears when all of it is written. Until then, and where nothing is written, there is no more than a temporary
// file beside it.
class TraceFile {
 public:
  // Makes the temporary file, so that a path which cannot be written is refused before anything runs. Error: kIo.
  static Result<std::unique_ptr<TraceFile>> create(const std::string& path);
  ~TraceFile();
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  // Records from creation on.
  Trace& trace() { return trace_; }
  // Precondition: nobody records any more. Error: kIo.
  Status write(Json other) const;

 private:
  explicit TraceFile(std::string path);
  const std::string path_, temporary_;
  Trace trace_;
};

}  // namespace flashneuron
