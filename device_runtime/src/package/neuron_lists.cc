#include "package/neuron_lists.h"

#include <cstring>

namespace flashneuron {
namespace {

// The file's numbers. parse_manifest has checked that it holds ffn_size of them.
template <typename Number>
Result<std::vector<Number>> read_list(const Package& package, const std::string& name) {
  FN_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, package.read(name));
  std::vector<Number> numbers(bytes.size() / sizeof(Number));
  std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(Number));
  return numbers;
}

Status corrupt(const std::string& name, const char* what) {
  return {StatusCode::kCorrupt, name + ": " + what + "; push or copy the package again"};
}

}  // namespace

Result<std::vector<uint32_t>> read_places(const Package& package, const FfnVariant& variant, uint32_t layer) {
  if (variant.places.empty()) return std::vector<uint32_t>();
  const std::string& name = variant.places[layer];
  FN_ASSIGN_OR_RETURN(std::vector<uint32_t> places, read_list<uint32_t>(package, name));
  std::vector<bool> taken(places.size());
  for (const uint32_t place : places) {
    if (place >= taken.size() || taken[place]) return corrupt(name, "is not a permutation of the layer's neurons");
    taken[place] = true;
  }
  return places;
}

Result<std::vector<float>> read_frequency(const Package& package, uint32_t layer) {
  const std::string& name = package.manifest().ffn.frequency[layer];
  FN_ASSIGN_OR_RETURN(std::vector<float> frequency, read_list<float>(package, name));
  for (const float share : frequency) {
    if (!(share >= 0 && share <= 1)) return corrupt(name, "has a frequency that is not a share");
  }
  return frequency;
}

}  // namespace flashneuron
