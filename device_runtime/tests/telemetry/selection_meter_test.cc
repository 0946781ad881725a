// Against sets, on random selections.
#include "telemetry/selection_meter.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace flashneuron {
namespace {

TEST(SelectionMeter, SumsWhatSetsSay) {
  constexpr uint32_t kNeurons = 40;
  std::mt19937 random(7);
  SelectionMeter meter(kNeurons);
  std::vector<std::set<uint32_t>> tokens;
  SelectionMeter::Sums expected;
  for (int token = 0; token < 200; ++token) {
    std::vector<uint32_t> selected;
    for (uint32_t neuron = 0; neuron < kNeurons; ++neuron) {
      if (random() % kNeurons < neuron / 4) selected.push_back(neuron);
    }
    meter.touch(selected);
    tokens.emplace_back(selected.begin(), selected.end());
    if (tokens.size() < SelectionMeter::kSpan) continue;
    std::set<uint32_t> before;
    for (size_t back = 1; back < SelectionMeter::kSpan; ++back)
      before.merge(std::set(tokens[tokens.size() - 1 - back]));
    int64_t fresh = 0;
    for (const uint32_t neuron : selected) fresh += before.contains(neuron) ? 0 : 1;
    expected += {1, static_cast<int64_t>(selected.size()), static_cast<int64_t>(before.size()) + fresh, fresh};
  }
  EXPECT_EQ(meter.sums().tokens, expected.tokens);
  EXPECT_EQ(meter.sums().selected, expected.selected);
  EXPECT_EQ(meter.sums().united, expected.united);
  EXPECT_EQ(meter.sums().fresh, expected.fresh);
}

TEST(SelectionMeter, ClearForgetsSumsButNotWhatWasSelected) {
  SelectionMeter meter(4);
  for (int token = 0; token < 6; ++token) meter.touch(std::vector<uint32_t>{1, 2});
  meter.clear();
  meter.touch(std::vector<uint32_t>{2, 3});
  EXPECT_EQ(meter.sums().tokens, 1);
  EXPECT_EQ(meter.sums().united, 3);
  EXPECT_EQ(meter.sums().fresh, 1);
}

}  // namespace
}  // namespace flashneuron
