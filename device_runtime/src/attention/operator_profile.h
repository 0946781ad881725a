// ExecuTorch's own profile (ETDump) of every program that runs: files in a folder, which ExecuTorch's Inspector reads
// (PROTOCOL.md, "Profile of operators").
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "flashneuron/status.h"

namespace executorch::etdump {
class ETDumpGen;
}

namespace flashneuron {

// What is recorded is kept in DRAM until it is written. Not thread safe; ExecuTorch's threads do not record.
class OperatorProfile {
 public:
  // Makes `folder`. Error: kIo, also where it exists.
  static Result<std::unique_ptr<OperatorProfile>> create(const std::string& folder);
  ~OperatorProfile();

  // To be given to Program::load_method, for `method` of the package's file `program`. Valid as long as this object.
  executorch::etdump::ETDumpGen& add(const std::string& program, const std::string& method);
  // Writes what has run since the last call, each program to a file of its own, and what that was so far to index.json;
  // forgets it. `phase`: letters. Error: kIo.
  Status write(const std::string& phase);

 private:
  struct Recorder;
  struct Dump {
    std::string phase, program, method, file;
  };
  explicit OperatorProfile(std::string folder);
  Status write_file(const std::string& name, const void* data, size_t bytes) const;

  const std::string folder_;
  std::vector<std::unique_ptr<Recorder>> recorders_;
  std::vector<Dump> dumps_;
};

}  // namespace flashneuron
