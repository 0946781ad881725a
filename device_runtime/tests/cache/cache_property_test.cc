// Cache and policy together on random selections, against a model that keeps whole histories.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <optional>
#include <random>
#include <set>

#include "cache/neuron_cache.h"
#include "cache/window_policy.h"

namespace flashneuron {
namespace {

constexpr uint32_t kNeurons = 64;

using Selection = std::vector<uint32_t>;  // ascending

uint32_t below(std::mt19937& random, uint32_t count) { return static_cast<uint32_t>(random() % count); }

// Selections as language models make them: a few favourites, some of the last token's neurons, some new ones.
std::vector<Selection> random_selections(uint32_t seed, uint32_t most) {
  std::mt19937 random(seed);
  std::vector<Selection> tokens;
  for (int token = 0; token < 60; ++token) {
    std::set<uint32_t> selected;
    const uint32_t wanted = below(random, most + 1);
    while (selected.size() < wanted) {
      const bool favourite = below(random, 2) == 0;
      selected.insert(favourite ? below(random, 8) : below(random, kNeurons));
      if (favourite && !tokens.empty() && !tokens.back().empty() && selected.size() < wanted) {
        selected.insert(tokens.back()[below(random, static_cast<uint32_t>(tokens.back().size()))]);
      }
    }
    tokens.emplace_back(selected.begin(), selected.end());
  }
  return tokens;
}

// One layer of the decode loop: evict, then insert the misses that fit.
class Layer {
 public:
  Layer(uint32_t capacity, std::optional<uint32_t> window)
      : cache_(std::move(NeuronCache::create(kNeurons, capacity, 64)).value()), policy_(kNeurons, window) {}

  // Returns the misses.
  Selection token(const Selection& selected) {
    policy_.touch(selected);
    Selection misses;
    std::copy_if(selected.begin(), selected.end(), std::back_inserter(misses),
                 [&](uint32_t neuron) { return cache_.find(neuron) == nullptr; });
    for (const uint32_t neuron : policy_.evictions(cache_, static_cast<uint32_t>(misses.size()))) {
      cache_.evict(neuron);
    }
    for (const uint32_t neuron : misses) {
      if (cache_.size() < cache_.capacity()) insert(neuron);
    }
    return misses;
  }

  void pin(uint32_t neuron) {
    policy_.pin(neuron);
    insert(neuron);
  }
  std::set<uint32_t> cached() const {
    std::set<uint32_t> neurons;
    for (uint32_t neuron = 0; neuron < kNeurons; ++neuron) {
      if (cache_.contains(neuron)) neurons.insert(neuron);
    }
    return neurons;
  }
  const WindowPolicy& policy() const { return policy_; }
  // Between tokens: who is pinned from now on, and how many rows there are.
  void change(const std::set<uint32_t>& pinned, uint32_t capacity) {
    Selection unpinned;
    for (uint32_t neuron = 0; neuron < kNeurons; ++neuron) {
      if (pinned.contains(neuron)) {
        policy_.pin(neuron);
      } else if (policy_.is_pinned(neuron)) {
        unpinned.push_back(neuron);
      }
    }
    policy_.unpin(cache_, unpinned);
    for (const uint32_t neuron : policy_.surplus(cache_, capacity)) cache_.evict(neuron);
    cache_.set_capacity(capacity);
  }

 private:
  void insert(uint32_t neuron) {
    cache_.insert(neuron);
    policy_.admit(neuron);
  }

  NeuronCache cache_;
  WindowPolicy policy_;
};

std::set<uint32_t> union_of_last(const std::deque<Selection>& history, size_t tokens) {
  std::set<uint32_t> all;
  for (size_t i = history.size() - std::min(tokens, history.size()); i < history.size(); ++i) {
    all.insert(history[i].begin(), history[i].end());
  }
  return all;
}

TEST(CacheProperty, WithRoomTheCacheIsTheUnionOfTheLastSelections) {
  for (uint32_t seed = 0; seed < 30; ++seed) {
    const uint32_t window = 1 + seed % 6;
    Layer layer(kNeurons, window);
    std::deque<Selection> history;
    for (const Selection& selected : random_selections(seed, 16)) {
      layer.token(selected);
      history.push_back(selected);
      ASSERT_EQ(layer.cached(), union_of_last(history, window)) << "seed " << seed;
      ASSERT_EQ(layer.policy().union_size(), layer.cached().size()) << "seed " << seed;
    }
  }
}

TEST(CacheProperty, WithoutRoomTheCacheIsASubsetThatHoldsWhatFitsOfTheToken) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    const uint32_t window = 1 + seed % 6;
    const uint32_t capacity = seed % 24;
    Layer layer(capacity, window);
    std::deque<Selection> history;
    for (const Selection& selected : random_selections(seed, 16)) {
      layer.token(selected);
      history.push_back(selected);
      const std::set<uint32_t> cached = layer.cached();
      const std::set<uint32_t> all = union_of_last(history, window);
      ASSERT_TRUE(std::includes(all.begin(), all.end(), cached.begin(), cached.end())) << "seed " << seed;
      const auto kept = std::count_if(selected.begin(), selected.end(), [&](uint32_t n) { return cached.contains(n); });
      ASSERT_EQ(static_cast<size_t>(kept), std::min<size_t>(selected.size(), capacity)) << "seed " << seed;
      ASSERT_EQ(cached.size(), std::min<size_t>(all.size(), capacity)) << "seed " << seed;
    }
  }
}

// Least recently used, as a list that is searched: what the cache without a window has to do.
TEST(CacheProperty, WithoutAWindowTheCacheIsLeastRecentlyUsed) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    const uint32_t capacity = 16 + seed % 30;
    Layer layer(capacity, std::nullopt);
    std::vector<uint32_t> recent;  // oldest first
    for (const Selection& selected : random_selections(seed, 16)) {
      layer.token(selected);
      for (const uint32_t neuron : selected) {
        std::erase(recent, neuron);
        recent.push_back(neuron);
      }
      const size_t kept = std::min<size_t>(recent.size(), capacity);
      ASSERT_EQ(layer.cached(), std::set<uint32_t>(recent.end() - static_cast<std::ptrdiff_t>(kept), recent.end()));
    }
  }
}

// With a pinned set, the others live in what it leaves as in a cache of that size of their own.
TEST(CacheProperty, PinnedNeuronsStayAndTheRestIsACacheOfItsOwn) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    for (const std::optional<uint32_t> window : {std::optional<uint32_t>(), std::optional<uint32_t>(3)}) {
      const uint32_t pinned = seed % 9;
      const uint32_t capacity = pinned + 16 + seed % 30;
      Layer layer(capacity, window);
      Layer rest(capacity - pinned, window);
      for (uint32_t neuron = 0; neuron < pinned; ++neuron) layer.pin(neuron);
      std::deque<Selection> history;
      for (const Selection& selected : random_selections(seed, 16)) {
        layer.token(selected);
        Selection unpinned;
        std::copy_if(selected.begin(), selected.end(), std::back_inserter(unpinned),
                     [&](uint32_t neuron) { return neuron >= pinned; });
        rest.token(unpinned);
        std::set<uint32_t> expected = rest.cached();
        for (uint32_t neuron = 0; neuron < pinned; ++neuron) expected.insert(neuron);
        ASSERT_EQ(layer.cached(), expected) << "seed " << seed;
        history.push_back(selected);
        ASSERT_EQ(layer.policy().union_size(), union_of_last(history, window.value_or(60)).size()) << "seed " << seed;
      }
    }
  }
}

TEST(CacheProperty, ALargerCacheHoldsAllOfASmallerOneAndNeverMissesMore) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    for (const std::optional<uint32_t> window : {std::optional<uint32_t>(), std::optional<uint32_t>(4)}) {
      std::vector<Layer> layers;
      for (uint32_t capacity = 16; capacity <= kNeurons; capacity += 6) layers.emplace_back(capacity, window);
      for (const Selection& selected : random_selections(seed, 16)) {
        size_t misses_before = SIZE_MAX;
        std::set<uint32_t> smaller;
        for (Layer& layer : layers) {
          const size_t misses = layer.token(selected).size();
          ASSERT_LE(misses, misses_before) << "seed " << seed;
          misses_before = misses;
          const std::set<uint32_t> cached = layer.cached();
          ASSERT_TRUE(std::includes(cached.begin(), cached.end(), smaller.begin(), smaller.end())) << "seed " << seed;
          smaller = cached;
        }
      }
    }
  }
}

// Whatever was pinned and however many rows there were before, the unpinned neurons that stay are the most recent ones.
TEST(CacheProperty, CapacityAndPinnedSetMayChangeBetweenTokens) {
  for (uint32_t seed = 0; seed < 80; ++seed) {
    std::mt19937 random(seed);
    Layer layer(kNeurons / 2, std::nullopt);
    uint32_t capacity = kNeurons / 2;
    std::set<uint32_t> pinned;
    std::set<uint32_t> expected;
    std::vector<uint32_t> recent;  // oldest first
    for (const Selection& selected : random_selections(seed, 16)) {
      const auto keep_newest = [&](uint32_t last_selected) {
        for (auto oldest = recent.begin(); expected.size() > capacity && oldest != recent.end() - last_selected;
             ++oldest) {
          if (!pinned.contains(*oldest)) expected.erase(*oldest);
        }
      };
      if (below(random, 4) == 0) {
        capacity = below(random, kNeurons + 1);
        pinned.clear();
        for (uint32_t n = below(random, capacity + 1); n > 0; --n) pinned.insert(below(random, kNeurons));
        layer.change(pinned, capacity);
        keep_newest(0);
        ASSERT_EQ(layer.cached(), expected) << "seed " << seed;
      }
      layer.token(selected);
      for (const uint32_t neuron : selected) {
        std::erase(recent, neuron);
        recent.push_back(neuron);
      }
      // Of a selection that does not fit, the first ones get the rows.
      Selection missed;
      std::copy_if(selected.begin(), selected.end(), std::back_inserter(missed),
                   [&](uint32_t neuron) { return !expected.contains(neuron); });
      expected.insert(missed.begin(), missed.end());
      keep_newest(static_cast<uint32_t>(selected.size()));
      while (expected.size() > capacity) {
        expected.erase(missed.back());
        missed.pop_back();
      }
      ASSERT_EQ(layer.cached(), expected) << "seed " << seed;
    }
  }
}

TEST(CacheProperty, ALongerWindowNeverMissesMore) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    std::vector<Layer> layers;
    for (const uint32_t window : {1, 2, 3, 5, 8, 100}) layers.emplace_back(kNeurons, window);
    layers.emplace_back(kNeurons, std::nullopt);
    for (const Selection& selected : random_selections(seed, 24)) {
      size_t misses_before = SIZE_MAX;
      for (Layer& layer : layers) {
        const size_t misses = layer.token(selected).size();
        ASSERT_LE(misses, misses_before) << "seed " << seed;
        misses_before = misses;
      }
    }
  }
}

}  // namespace
}  // namespace flashneuron
