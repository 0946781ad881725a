#include "attention/executorch_process.h"

#include <executorch/runtime/platform/platform.h>
#include <stdlib.h>  // defines __GLIBC__
#if defined(__GLIBC__) || defined(__ANDROID__)
#include <malloc.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstdio>

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
namespace {

void log_errors(et_timestamp_t, et_pal_log_level_t level, const char* file, const char*, size_t line,
                const char* message, size_t length) {
  if (level != kError && level != kFatal) return;
  std::fprintf(stderr, "executorch %s:%zu: %.*s\n", file, line, static_cast<int>(length), message);
}

}  // namespace

void set_up_executorch(int threads) {
  if (executorch::runtime::get_pal_impl()->emit_log_message != log_errors) {
    executorch::runtime::register_pal(executorch::runtime::PalImpl::create(log_errors, "flashneuron"));
  }
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr || pool->get_thread_count() == static_cast<size_t>(threads)) return;
  pool->_unsafe_reset_threadpool(static_cast<uint32_t>(threads));
}

void release_free_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#elif defined(__ANDROID__)
  mallopt(M_PURGE, 0);
#endif
}

}  // namespace flashneuron
