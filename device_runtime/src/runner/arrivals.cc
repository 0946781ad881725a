#include "runner/arrivals.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "package/file_io.h"
#include "package/sha256.h"

namespace flashneuron {
namespace {

constexpr uint64_t kStepBytes = uint64_t{1} << 20;
constexpr size_t kAtOnce = 16;  // more than a push sends at the same time, and few enough to look at again and again

// A file that grows, mapped for the size that it will have: what is hashed is not copied, which takes a quarter of the
// time. Only what the file has already may be touched.
class Growing {
 public:
  explicit Growing(const Arrival* arrival) : arrival_(arrival) {}
  Growing(Growing&&) = delete;
  ~Growing() {
    if (data_ != nullptr) munmap(data_, arrival_->bytes);
  }

  const Arrival& arrival() const { return *arrival_; }
  bool whole() const { return file_ && done_ == arrival_->bytes; }
  Result<std::string> finish() { return hash_.finish(); }

  // Hashes what has come since the last call; how many bytes.
  Result<uint64_t> catch_up() {
    if (!file_) {
      Result<InputFile> file = InputFile::open(arrival_->path);
      if (file.status().code() == StatusCode::kNotFound) return uint64_t{0};
      FN_RETURN_IF_ERROR(file.status());
      file_.emplace(std::move(file).value());
    }
    struct stat facts = {};
    if (fstat(file_->descriptor(), &facts) != 0) return failed("cannot be examined");
    const uint64_t there = std::min(static_cast<uint64_t>(facts.st_size), arrival_->bytes);
    const uint64_t before = done_;
    if (there > before && data_ == nullptr) {
      void* const data = mmap(nullptr, arrival_->bytes, PROT_READ, MAP_SHARED, file_->descriptor(), 0);
      if (data == MAP_FAILED) return failed("cannot be mapped");
      data_ = static_cast<std::byte*>(data);
    }
    while (done_ < there) {
      const uint64_t bytes = std::min(kStepBytes, there - done_);
      touch(bytes);
      FN_RETURN_IF_ERROR(hash_.add({data_ + done_, static_cast<size_t>(bytes)}));
      done_ += bytes;
    }
    return done_ - before;
  }

 private:
  Status failed(const char* what) const { return {StatusCode::kIo, arrival_->path + ": " + what}; }

  // All of its page faults at once, where the kernel can (Linux 5.14); else they come one by one.
  void touch(uint64_t bytes) {
#ifdef MADV_POPULATE_READ
    const uint64_t start = done_ - done_ % static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    (void)madvise(data_ + start, done_ + bytes - start, MADV_POPULATE_READ);
#else
    (void)bytes;
#endif
  }

  const Arrival* arrival_;
  std::optional<InputFile> file_;  // none while it is not there
  std::byte* data_ = nullptr;
  Sha256 hash_;
  uint64_t done_ = 0;
};

}  // namespace

Status hash_arriving(std::span<const Arrival> arrivals, const ArrivalListener& listener) {
  std::list<Growing> window;
  auto next = arrivals.begin();
  while (true) {
    while (window.size() < kAtOnce && next != arrivals.end()) window.emplace_back(&*next++);
    if (window.empty()) return {};
    bool progress = false;
    for (auto file = window.begin(); file != window.end();) {
      FN_ASSIGN_OR_RETURN(const uint64_t hashed, file->catch_up());
      progress |= hashed > 0 || file->whole();
      if (!file->whole()) {
        ++file;
        continue;
      }
      FN_ASSIGN_OR_RETURN(const std::string sha256, file->finish());
      listener.on_hash(file->arrival(), sha256);
      file = window.erase(file);
    }
    if (!progress) listener.wait();
  }
}

}  // namespace flashneuron
