#include "flashneuron/status.h"

namespace flashneuron {

std::string_view status_code_name(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "ok";
    case StatusCode::kUsage:
      return "usage";
    case StatusCode::kVersionMismatch:
      return "version_mismatch";
    case StatusCode::kNotFound:
      return "not_found";
    case StatusCode::kCorrupt:
      return "corrupt";
    case StatusCode::kUnsupported:
      return "unsupported";
    case StatusCode::kNewerFormat:
      return "newer_format";
    case StatusCode::kBudgetTooSmall:
      return "budget_too_small";
    case StatusCode::kBadInput:
      return "bad_input";
    case StatusCode::kIo:
      return "io";
    case StatusCode::kOutOfMemory:
      return "out_of_memory";
    case StatusCode::kInternal:
      return "internal";
  }
  return "internal";
}

}  // namespace flashneuron
