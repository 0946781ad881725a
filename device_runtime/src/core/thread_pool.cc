// One loop is open at a time. Its indices are handed out in chunks through one atomic counter, so a worker that wakes
// up late costs nothing: the caller works from the start, takes what is left, then closes the loop and waits only for
// the workers that joined it.
//
// Invariants: `body`, `count` and `chunk` change only while no loop is open and nobody is inside; a worker reads them
// only between join() and leave(); join() succeeds only while the loop is open. All of it is ordered by `mutex`, except
// the end of a loop, which is ordered by the last leave() (release) and the caller's look at `inside` (acquire).
#include "core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace flashneuron {
namespace {

// Loops often follow each other within microseconds, so look this often before sleeping: some 10 to 50 us.
constexpr int kSpins = 1000;
// While kept awake, a worker looks for as long as this before it sleeps.
constexpr std::chrono::microseconds kAwake(1000);
// Chunks per thread: enough to even out threads of unequal speed (big and little cores).
constexpr size_t kChunksPerThread = 4;

void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  asm volatile("yield");
#endif
}

template <typename Condition>
bool spin_until(const Condition& condition) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (condition()) return true;
    pause_cpu();
  }
  return condition();
}

}  // namespace

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable opened;   // a loop was opened, or the pool stops
  std::condition_variable empty;    // `inside` fell to 0
  std::atomic<uint64_t> loops = 0;  // loops opened so far; written under `mutex`
  std::atomic<int> inside = 0;      // workers that joined the loop and have not left; raised under `mutex`
  std::atomic<bool> awake = false;  // workers are to stay awake
  uint64_t wakes = 0;               // how often they were asked to
  bool open = false;
  bool stop = false;

  const std::function<void(size_t, size_t)>* body = nullptr;
  size_t count = 0;
  size_t chunk = 1;
  std::atomic<size_t> next = 0;

  std::vector<std::thread> workers;

  void run_chunks() {
    for (;;) {
      const size_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= count) return;
      (*body)(begin, std::min(begin + chunk, count));
    }
  }

  // Looks for a loop that this worker has not seen, without sleeping.
  bool sees_loop(uint64_t seen) const {
    const auto opened_loop = [&] { return loops.load(std::memory_order_relaxed) != seen; };
    const auto start = std::chrono::steady_clock::now();
    do {
      if (spin_until(opened_loop)) return true;
    } while (awake.load(std::memory_order_relaxed) && std::chrono::steady_clock::now() - start < kAwake);
    return false;
  }

  // Waits for a loop that this worker has not seen. False: the pool stops. `joined` tells whether it is still open.
  bool join(uint64_t& seen, uint64_t& seen_wakes, bool& joined) {
    sees_loop(seen);
    std::unique_lock lock(mutex);
    opened.wait(lock, [&] { return stop || loops.load(std::memory_order_relaxed) != seen || wakes != seen_wakes; });
    if (stop) return false;
    seen_wakes = wakes;
    joined = open && loops.load(std::memory_order_relaxed) != seen;
    seen = loops.load(std::memory_order_relaxed);
    if (joined) inside.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  void leave() {
    if (inside.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
    const std::lock_guard lock(mutex);  // the caller is either before its check or already waiting
    empty.notify_one();
  }

  void work() {
    uint64_t seen = 0;
    uint64_t seen_wakes = 0;
    bool joined = false;
    while (join(seen, seen_wakes, joined)) {
      if (!joined) continue;
      run_chunks();
      leave();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  for (int worker = 1; worker < threads; ++worker) {
    state_->workers.emplace_back([state = state_.get()] { state->work(); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->opened.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel_for(size_t count, size_t grain, const std::function<void(size_t, size_t)>& body) {
  if (count == 0) return;
  const size_t chunks = static_cast<size_t>(threads()) * kChunksPerThread;
  const size_t chunk = std::max({grain, (count + chunks - 1) / chunks, size_t{1}});
  if (state_->workers.empty() || chunk >= count) return body(0, count);
  State& state = *state_;
  {
    const std::lock_guard lock(state.mutex);
    state.body = &body;
    state.count = count;
    state.chunk = chunk;
    state.next.store(0, std::memory_order_relaxed);
    state.open = true;
    state.loops.fetch_add(1, std::memory_order_relaxed);
  }
  state.opened.notify_all();
  state.run_chunks();
  {
    const std::lock_guard lock(state.mutex);
    state.open = false;
  }
  const auto all_left = [&] { return state.inside.load(std::memory_order_acquire) == 0; };
  if (spin_until(all_left)) return;
  std::unique_lock lock(state.mutex);
  state.empty.wait(lock, all_left);
}

ThreadPool::Awake::Awake(ThreadPool& pool) : pool_(pool) {
  if (pool.state_->workers.empty()) return;
  {
    const std::lock_guard lock(pool.state_->mutex);
    pool.state_->awake.store(true, std::memory_order_relaxed);
    ++pool.state_->wakes;
  }
  pool.state_->opened.notify_all();
}

ThreadPool::Awake::~Awake() { pool_.state_->awake.store(false, std::memory_order_relaxed); }

}  // namespace flashneuron
