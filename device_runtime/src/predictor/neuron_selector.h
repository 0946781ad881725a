// Which of the neurons 0 … count - 1 pass a test, found by all threads, ascending.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/thread_pool.h"

namespace flashneuron {

class NeuronSelector {
 public:
  NeuronSelector(uint32_t neuron_count, ThreadPool& pool)
      : neuron_count_(neuron_count), pool_(pool), ids_(neuron_count), found_((neuron_count + kRange - 1) / kRange) {}

  // selected = the neurons for which fires(neuron) holds; it is called once for each, on any thread, and costs about
  // `products` multiply-adds. Neurons are split into fixed ranges, each found by one thread in its own part of ids_.
  template <typename Fires>
  void select(size_t products, const Fires& fires, std::vector<uint32_t>& selected) {
    const size_t grain = std::max<size_t>(1, kMinProducts / (products * kRange));
    pool_.parallel_for(found_.size(), grain, [&](size_t begin, size_t end) {
      for (size_t range = begin; range < end; ++range) {
        const auto first = static_cast<uint32_t>(range * kRange);
        const uint32_t last = std::min(first + kRange, neuron_count_);
        uint32_t found = 0;
        for (uint32_t neuron = first; neuron < last; ++neuron) {
          ids_[first + found] = neuron;
          found += fires(neuron) ? 1 : 0;
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
  static constexpr uint32_t kRange = 64;
  static constexpr size_t kMinProducts = 16384;  // fewer are not worth a thread

  uint32_t neuron_count_;
  ThreadPool& pool_;
  std::vector<uint32_t> ids_;    // found neurons of range r from r * kRange on
  std::vector<uint32_t> found_;  // how many of each range
};

}  // namespace flashneuron
