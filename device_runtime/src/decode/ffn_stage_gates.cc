// Phase one of gate_first: gates are read, multiplied and tested, and silent neurons leave the call.
#include <cstring>

#include "decode/ffn_stage.h"
#include "kernels/neuron.h"
#include "telemetry/trace.h"

namespace flashneuron {
namespace {

constexpr RowRange kGate{0, 1};

}  // namespace

Status FfnStage::read_gates(Counters& counters) {
  std::span<const uint32_t> rest = call_.demand;
  const auto start = [&](NeuronBatch& batch) -> Status {
    if (rest.empty()) return {};
    FN_ASSIGN_OR_RETURN(const size_t started, batch.start(call_.layer, rest, kGate, counters));
    rest = rest.subspan(started);
    return {};
  };
  // Two rounds are on their way with overlap, one without.
  FN_RETURN_IF_ERROR(start(demand_[0]));
  if (options_.overlap) FN_RETURN_IF_ERROR(start(demand_[1]));
  NeuronBatch& early = early_[call_.layer % 2];
  FN_RETURN_IF_ERROR(take_gates(early, counters));
  early.clear();
  for (size_t turn = 0; !demand_[turn].empty(); turn = 1 - turn) {
    FN_RETURN_IF_ERROR(take_gates(demand_[turn], counters));
    demand_[turn].clear();
    FN_RETURN_IF_ERROR(start(demand_[options_.overlap ? turn : 1 - turn]));
  }

  passing_.clear();
  call_.demand.clear();
  for (size_t i = 0; i < call_.selected.size(); ++i) {
    const uint32_t neuron = call_.selected[i];
    if (call_.missed[i]) {
      if (!kernels::gate_passes(weights_.rules[call_.layer], gate_products_[neuron])) continue;
      call_.demand.push_back(neuron);
    }
    call_.rows[passing_.size()] = call_.rows[i];
    call_.missed[passing_.size()] = call_.missed[i];
    passing_.push_back(neuron);
  }
  call_.selected = passing_;
  call_.rows.resize(passing_.size());
  call_.missed.resize(passing_.size());
  return {};
}

Status FfnStage::take_gates(NeuronBatch& batch, Counters& counters) {
  arrived_.clear();
  const std::span<const uint32_t> neurons = batch.neurons();
  for (size_t i = 0, index = 0; i < call_.selected.size() && index < neurons.size();) {
    if (call_.selected[i] != neurons[index]) {
      ++(call_.selected[i] < neurons[index] ? i : index);
      continue;
    }
    if (call_.missed[i]) {
      FN_RETURN_IF_ERROR(batch.wait(index, counters));
      arrived_.push_back(row(batch, index));
    }
    ++i;
    ++index;
  }
  std::vector<NeuronRow> passing;
  {
    const TimedSpan span(queue_.spans(), SpanKind::kFfn, counters.ffn_us);
    arrived_activations_.resize(arrived_.size());
    accumulator_.multiply_gates(arrived_, arrived_activations_);
    for (size_t r = 0; r < arrived_.size(); ++r) {
      gate_products_[arrived_[r].neuron] = arrived_activations_[r];
      if (kernels::gate_passes(weights_.rules[call_.layer], arrived_activations_[r])) passing.push_back(arrived_[r]);
    }
  }
  Layer& state = layers_[call_.layer];
  if (options_.keep_misses) make_room(state, passing.size(), counters);
  const TimedSpan span(queue_.spans(), SpanKind::kMemory, counters.memory_us);
  for (const NeuronRow& row : passing) {
    const bool kept = state.cache.size() < state.cache.capacity() && call_.keep(row.neuron);
    reserved_[row.neuron] = kept ? insert(state, row.neuron) : nullptr;
    if (kept) std::memcpy(reserved_[row.neuron], row.gate, weights_.vector_bytes());
  }
  return {};
}

}  // namespace flashneuron
