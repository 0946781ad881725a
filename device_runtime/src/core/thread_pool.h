// A fixed pool for splitting loops over outputs. Results never depend on its size: each index is computed whole by one
// thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace flashneuron {

class ThreadPool {
 public:
  // `threads` >= 1 counts the calling thread, so 1 starts none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  // Calls body(begin, end) on disjoint ranges that cover [0, count), each range at least `grain` long but the last;
  // returns when all are done. One caller at a time; `body` must not throw and must not call parallel_for.
  void parallel_for(size_t count, size_t grain, const std::function<void(size_t, size_t)>& body);

  // While one is there, workers stay awake between loops for up to a millisecond each time, instead of some
  // microseconds: waking a sleeping thread costs as much as a short loop takes. It wakes them without waiting. For
  // phases of short loops; not for phases in which other threads need the processors. From the caller of parallel_for.
  class Awake {
   public:
    explicit Awake(ThreadPool& pool);
    ~Awake();
    Awake(const Awake&) = delete;
    Awake& operator=(const Awake&) = delete;

   private:
    ThreadPool& pool_;
  };

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace flashneuron
