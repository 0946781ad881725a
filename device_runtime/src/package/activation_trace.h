// Activation traces: which neurons consecutive tokens of text select. See FORMAT.md, "trace.bin".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "flashneuron/status.h"
#include "package/mapped_file.h"

namespace flashneuron {

class ActivationTrace {
 public:
  // Maps the file; `name` is for messages. Errors: kNotFound, kIo, kCorrupt, kNewerFormat.
  static Result<ActivationTrace> open(const std::string& path, const std::string& name);

  uint32_t layers() const { return layers_; }
  uint32_t ffn_size() const { return ffn_size_; }
  uint32_t tokens() const { return tokens_; }
  // Neurons that a token selects, ascending. Error: kCorrupt, where one is not below ffn_size.
  Result<std::vector<uint32_t>> selected(uint32_t layer, uint32_t token) const { return row(layer, 0, token); }
  // Whether the trace says what was expected of a token one layer before, and what.
  bool has_expected() const { return kinds_ == 2; }
  Result<std::vector<uint32_t>> expected(uint32_t layer, uint32_t token) const { return row(layer, 1, token); }

 private:
  Result<std::vector<uint32_t>> row(uint32_t layer, uint32_t kind, uint32_t token) const;

  std::shared_ptr<const MappedFile> file_;
  std::string name_;
  uint32_t layers_ = 0;
  uint32_t ffn_size_ = 0;
  uint32_t tokens_ = 0;
  uint32_t kinds_ = 0;
};

}  // namespace flashneuron
