#include <array>

#include "flashneuron/stats.h"

namespace flashneuron {
namespace {

constexpr std::array kFields = {
    &Counters::wall_us,      &Counters::io_us,    &Counters::stall_us,  &Counters::memory_us, &Counters::predictor_us,
    &Counters::attention_us, &Counters::ffn_us,   &Counters::head_us,   &Counters::draft_us,  &Counters::bytes_wanted,
    &Counters::bytes_read,   &Counters::requests, &Counters::selected,  &Counters::fired,     &Counters::hits,
    &Counters::misses,       &Counters::early,    &Counters::early_used};
static_assert(sizeof(Counters) == kFields.size() * sizeof(int64_t));

}  // namespace

Counters& Counters::operator+=(const Counters& other) {
  for (const auto field : kFields) this->*field += other.*field;
  return *this;
}

Counters Counters::part(int64_t number, int64_t parts) const {
  Counters part;
  for (const auto field : kFields) {
    part.*field = this->*field * (number + 1) / parts - this->*field * number / parts;
  }
  part.selected = part.hits + part.misses;
  return part;
}

}  // namespace flashneuron
