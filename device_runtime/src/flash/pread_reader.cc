// One queue, and `workers` threads that each take a request, read it whole, and put its completion on a second queue.
// Compute runs on the same few cores, so CPU time per read counts:
//   - a worker takes the mutex once a read: it leaves a completion and takes the next request under the same lock;
//   - a submission wakes no more workers than it has reads, and none while all of them work;
//   - the waiting thread is woken once, when as many completions are there as it asked for, and takes all of them at
//     once; polling an empty queue is one atomic load.
//
// Ownership of memory: a request's destination is written only by the worker that took it, between its taking and its
// completion; the mutex orders both. Files are opened by the one thread that submits, and each queued read carries its
// descriptor, so workers never look at the table of files.
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "flash/busy_meter.h"
#include "flash/direct_file.h"
#include "flash/flash_reader.h"
#include "flash/whole_read.h"

namespace flashneuron {
namespace {

struct OpenFile {
  std::string path;
  DirectFile file;
};

struct QueuedRead {
  ReadRequest request;
  const OpenFile* file;  // stable for the reader's life
  uint32_t block_bytes;
  BusyMeter::Time submitted;
};

Status perform(const QueuedRead& read) {
  const DirectFile& file = read.file->file;
  const auto pread_file = [&](std::byte* destination, size_t bytes, uint64_t offset) -> ssize_t {
    const ssize_t count = ::pread(file.descriptor(), destination, bytes, static_cast<off_t>(offset));
    return count >= 0 ? count : -errno;
  };
  const Status status = read_whole(pread_file, read.request, file.bytes(), read.block_bytes);
  return status.ok() ? status : Status(status.code(), read.file->path + ": " + status.message());
}

class PreadReader : public FlashReader {
 public:
  explicit PreadReader(const PreadReaderOptions& options) : direct_(options.direct) {
    const size_t workers = static_cast<size_t>(std::max(options.workers, 1));
    if (options.trace != nullptr) options.trace->start_workers(workers);
    for (size_t worker = 0; worker < workers; ++worker) {
      ReadTrack* track = options.trace == nullptr ? nullptr : &options.trace->reads(worker);
      workers_.emplace_back([this, track] { work(track); });
    }
  }

  ~PreadReader() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      queue_.clear();
    }
    queued_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  Result<uint32_t> open(const std::string& path) override {
    if (const auto found = numbers_.find(path); found != numbers_.end()) return found->second;
    FN_ASSIGN_OR_RETURN(DirectFile file, DirectFile::open(path, direct_));
    block_bytes_ = std::max(block_bytes_, file.block_bytes());
    if (!buffered_reason_ && file.buffered_reason()) buffered_reason_ = path + ": " + *file.buffered_reason();
    const auto number = static_cast<uint32_t>(files_.size());
    files_.push_back({path, std::move(file)});
    numbers_.emplace(path, number);
    return number;
  }

  uint32_t block_bytes() const override { return block_bytes_; }

  void submit(std::span<const ReadRequest> batch) override {
    if (batch.empty()) return;
    size_t sleeping = 0;
    {
      const std::lock_guard lock(mutex_);
      const BusyMeter::Time now = BusyMeter::Clock::now();
      busy_.start(batch.size(), now);
      for (const ReadRequest& request : batch) queue_.push_back({request, &files_[request.file], block_bytes_, now});
      sleeping = sleeping_;
    }
    outstanding_ += batch.size();
    if (batch.size() >= sleeping) {
      if (sleeping > 0) queued_.notify_all();
    } else {
      for (size_t read = 0; read < batch.size(); ++read) queued_.notify_one();
    }
  }

  void await(size_t count) override {
    const size_t missing = std::min(count, outstanding_) - std::min(count, taken_.size());
    if (missing == 0) return;
    std::unique_lock lock(mutex_);
    if (completions_.size() < missing) {
      awaited_ = missing;
      enough_.wait(lock, [&] { return completions_.size() >= missing; });
      awaited_ = 0;
    }
  }

  std::optional<ReadCompletion> poll() override {
    if (taken_.empty()) {
      if (completed_.load(std::memory_order_relaxed) == 0) return std::nullopt;
      const std::lock_guard lock(mutex_);
      taken_.swap(completions_);
      completed_.store(0, std::memory_order_relaxed);
    }
    ReadCompletion completion = std::move(taken_.back());
    taken_.pop_back();
    --outstanding_;
    return completion;
  }

  int64_t busy_us() const override {
    const std::lock_guard lock(mutex_);
    return busy_.busy_us(BusyMeter::Clock::now());
  }

  std::optional<std::string> buffered_reason() const override { return buffered_reason_; }

 private:
  void work(ReadTrack* track) {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (!stop_ && queue_.empty()) {
        ++sleeping_;
        queued_.wait(lock);
        --sleeping_;
      }
      if (stop_) return;
      const QueuedRead read = queue_.front();
      queue_.pop_front();
      lock.unlock();
      const int64_t start_us = track == nullptr ? 0 : now_us();
      Status status = perform(read);
      const BusyMeter::Time end = BusyMeter::Clock::now();
      if (track != nullptr) {
        const ReadRequest& request = read.request;
        track->add({request.file, request.length, request.offset, to_us(read.submitted), start_us, to_us(end)});
      }
      lock.lock();
      busy_.finish(end);
      completions_.push_back({read.request.tag, std::move(status)});
      completed_.store(completions_.size(), std::memory_order_relaxed);
      if (completions_.size() == awaited_) enough_.notify_one();
    }
  }

  // Of the submitting thread alone.
  const bool direct_;
  uint32_t block_bytes_ = 4096;
  std::optional<std::string> buffered_reason_;
  std::deque<OpenFile> files_;  // a deque never moves its items
  std::map<std::string, uint32_t> numbers_;
  size_t outstanding_ = 0;             // submitted and not yet given out by poll()
  std::vector<ReadCompletion> taken_;  // out of completions_, not yet given out

  // Guarded by `mutex_`.
  mutable std::mutex mutex_;
  std::condition_variable queued_;  // queue_ has grown, or stop_
  std::condition_variable enough_;  // completions_ has reached awaited_
  std::deque<QueuedRead> queue_;
  std::vector<ReadCompletion> completions_;
  size_t awaited_ = 0;   // completions that await() sleeps for; 0: it does not
  size_t sleeping_ = 0;  // workers in queued_.wait; may be one too many for those just woken
  BusyMeter busy_;
  bool stop_ = false;

  std::atomic<size_t> completed_ = 0;  // completions_.size(), for a look without the mutex

  std::vector<std::thread> workers_;  // last: they use all of the above
};

}  // namespace

std::unique_ptr<FlashReader> make_pread_reader(const PreadReaderOptions& options) {
  return std::make_unique<PreadReader>(options);
}

}  // namespace flashneuron
