// Apart from the tests: a compiler that sees these beside a `new` takes them for a mismatch.
#include "telemetry/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<size_t> count = 0;
}  // namespace

void* operator new(size_t bytes) {
  ++count;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace flashneuron::testing {

size_t allocations() { return count; }

}  // namespace flashneuron::testing
