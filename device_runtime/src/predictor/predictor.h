// Which neurons a token needs. Ids come out ascending and do not depend on threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/thread_pool.h"
#include "flashneuron/status.h"
#include "package/package.h"

namespace flashneuron {

class Predictor {
 public:
  virtual ~Predictor() = default;
  // What select() takes.
  virtual PredictorInput input() const = 0;
  // `x` is [hidden_size], the layer's input(); `selected` is cleared first. Not thread safe.
  virtual void select(uint32_t layer, std::span<const float> x, std::vector<uint32_t>& selected) = 0;
  // Weights held in DRAM.
  virtual uint64_t resident_bytes() const = 0;
};

// Both take a package that check_package found sound, and only read it while loading; `pool` must outlive the
// predictor.

// Low-rank predictors of the package (LLM in a flash, section 3.1): n is selected iff (Bf(Ax))[n] + bias[n] > 0, f
// being nothing or a ReLU as its file says. Errors: kUnsupported (the package has none), and those of read_lowrank.
Result<std::unique_ptr<Predictor>> load_lowrank_predictor(const Package& package, ThreadPool& pool);

// The exact activation test (kernels/neuron.h) on a full copy of the rows that it takes, gate or up or both: all
// neurons for which FfnAccumulator adds a term. Its copy is outside any budget. `variant` names the files to read.
// Errors: kIo, kNotFound, kCorrupt, kOutOfMemory.
Result<std::unique_ptr<Predictor>> load_oracle_predictor(const Package& package, const FfnVariant& variant,
                                                         ThreadPool& pool);

}  // namespace flashneuron
