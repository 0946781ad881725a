// Which of the neurons 0 … count - 1 are active, found by all threads, ascending.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/thread_pool.h"

namespace flashneuron {

class NeuronSelector {
 public:
  NeuronSelector(uint32_t neuron_count, ThreadPool& pool)
      : neuron_count_(neuron_count), pool_(pool), ids_(neuron_count), found_((neuron_count + kRange - 1) / kRange) {}

  static constexpr uint32_t kRange = 64;

  // selected = the neurons whose activation is above 0. activate(first, activations) gives those of the neurons from
  // `first` on, at most kRange; it is called once for each range, on any thread, and costs about `products`
  // multiply-adds a neuron. Each range is found by one thread in its own part of ids_.
  template <typename Activate>
  void select(size_t products, const Activate& activate, std::vector<uint32_t>& selected) {
    const size_t grain = std::max<size_t>(1, kMinProducts / (products * kRange));
    pool_.parallel_for(found_.size(), grain, [&](size_t begin, size_t end) {
      for (size_t range = begin; range < end; ++range) {
        const auto first = static_cast<uint32_t>(range * kRange);
        const uint32_t last = std::min(first + kRange, neuron_count_);
        std::array<float, kRange> activations;
        activate(first, std::span(activations).first(last - first));
        uint32_t found = 0;
        for (uint32_t neuron = first; neuron < last; ++neuron) {
          ids_[first + found] = neuron;
          found += activations[neuron - first] > 0 ? 1 : 0;
        }
        found_[range] = found;
      }
    });
    selected.clear();
    for (size_t range = 0; range < found_.size(); ++range) {
      const auto first = ids_.begin() + static_cast<ptrdiff_t>(range * kRange);
      selected.insert(selected.end(), first, first + found_[range]);
    }
  }

 private:
  static constexpr size_t kMinProducts = 16384;  // fewer are not worth a thread

  uint32_t neuron_count_;
  ThreadPool& pool_;
  std::vector<uint32_t> ids_;    // found neurons of range r from r * kRange on
  std::vector<uint32_t> found_;  // how many of each range
};

}  // namespace flashneuron
