// One queue, `workers` threads that each take a request, read it whole, and put its completion on a second queue.
//
// Ownership of memory: a request's destination is written only by the worker that took it, between its taking and its
// completion; the mutex orders both. Files are opened by the one thread that submits, and each queued read carries its
// descriptor, so workers never look at the table of files.
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
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
    for (int worker = 0; worker < std::max(options.workers, 1); ++worker) {
      workers_.emplace_back([this] { work(); });
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
    {
      const std::lock_guard lock(mutex_);
      busy_.start(batch.size(), BusyMeter::Clock::now());
      for (const ReadRequest& request : batch) queue_.push_back({request, &files_[request.file], block_bytes_});
    }
    outstanding_ += batch.size();
    batch.size() == 1 ? queued_.notify_one() : queued_.notify_all();
  }

  std::optional<ReadCompletion> wait() override {
    if (outstanding_ == 0) return std::nullopt;
    std::unique_lock lock(mutex_);
    completed_.wait(lock, [this] { return !completions_.empty(); });
    return take();
  }

  std::optional<ReadCompletion> poll() override {
    if (outstanding_ == 0) return std::nullopt;
    const std::lock_guard lock(mutex_);
    if (completions_.empty()) return std::nullopt;
    return take();
  }

  int64_t busy_us() const override {
    const std::lock_guard lock(mutex_);
    return busy_.busy_us(BusyMeter::Clock::now());
  }

  std::optional<std::string> buffered_reason() const override { return buffered_reason_; }

 private:
  // Precondition: mutex_ is held and a completion is there.
  ReadCompletion take() {
    ReadCompletion completion = std::move(completions_.front());
    completions_.pop_front();
    --outstanding_;
    return completion;
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      queued_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const QueuedRead read = queue_.front();
      queue_.pop_front();
      lock.unlock();
      Status status = perform(read);
      lock.lock();
      busy_.finish(BusyMeter::Clock::now());
      completions_.push_back({read.request.tag, std::move(status)});
      completed_.notify_one();
    }
  }

  // Of the submitting thread alone.
  const bool direct_;
  uint32_t block_bytes_ = 4096;
  std::optional<std::string> buffered_reason_;
  std::deque<OpenFile> files_;  // a deque never moves its items
  std::map<std::string, uint32_t> numbers_;
  size_t outstanding_ = 0;  // submitted and not yet given out by wait()

  // Guarded by `mutex_`.
  mutable std::mutex mutex_;
  std::condition_variable queued_;     // queue_ has grown, or stop_
  std::condition_variable completed_;  // completions_ has grown
  std::deque<QueuedRead> queue_;
  std::deque<ReadCompletion> completions_;
  BusyMeter busy_;
  bool stop_ = false;

  std::vector<std::thread> workers_;  // last: they use all of the above
};

}  // namespace

std::unique_ptr<FlashReader> make_pread_reader(const PreadReaderOptions& options) {
  return std::make_unique<PreadReader>(options);
}

}  // namespace flashneuron
