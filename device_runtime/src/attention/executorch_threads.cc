#include "attention/executorch_threads.h"

#include <cstddef>
#include <cstdint>

// ExecuTorch's wheel exports these symbols but ships no header for them.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t new_thread_count);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace flashneuron {

void set_executorch_threads(int threads) {
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr || pool->get_thread_count() == static_cast<size_t>(threads)) return;
  pool->_unsafe_reset_threadpool(static_cast<uint32_t>(threads));
}

}  // namespace flashneuron
