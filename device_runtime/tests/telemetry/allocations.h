// Counts the allocations of the test program that links it.
#pragma once

#include <cstddef>

namespace flashneuron::testing {

// Calls of operator new so far, by all threads.
size_t allocations();

}  // namespace flashneuron::testing
