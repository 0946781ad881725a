// Reads from flash: submit a batch, wait for completions. Implementations: PreadReader (a pool of pread workers,
// O_DIRECT); decorators (faulty, recording) wrap any reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "flashneuron/status.h"
#include "telemetry/trace.h"

namespace flashneuron {

struct ReadRequest {
  uint32_t file = 0;                 // from FlashReader::open
  uint64_t offset = 0;               // a multiple of block_bytes()
  uint32_t length = 0;               // a multiple of block_bytes(); may end past the file's end by less than a block
  std::byte* destination = nullptr;  // `length` bytes, aligned to block_bytes(); the caller keeps it until completion
  uint64_t tag = 0;                  // comes back in the completion
};

struct ReadCompletion {
  uint64_t tag = 0;
  Status status;  // kIo: failed or short, with file and offset in the message
};

// Threads: one thread opens, submits and waits; workers are the reader's own.
class FlashReader {
 public:
  virtual ~FlashReader() = default;

  // Opens a file for reading; the same path opened twice gives the same number. Files stay open, and are expected not
  // to change, for the reader's life. Errors: kNotFound, kIo.
  virtual Result<uint32_t> open(const std::string& path) = 0;
  // Alignment of offsets, lengths and destinations: 4096 to 16384, a power of two. Opening a file may raise it, so ask
  // when all files are open.
  virtual uint32_t block_bytes() const = 0;
  // Queues the batch and returns at once. Completions come in any order.
  virtual void submit(std::span<const ReadRequest> batch) = 0;
  // Waits until `count` completions can be polled, or all that are outstanding where those are fewer. One long wait
  // costs one wake-up, where a wait for each completion costs one each.
  virtual void await(size_t count) = 0;
  // A completion if there is one, without waiting. A read is outstanding until poll() gives out its completion.
  virtual std::optional<ReadCompletion> poll() = 0;
  // The next completion, waiting for it if need be; nullopt when nothing is outstanding.
  std::optional<ReadCompletion> wait() {
    await(1);
    return poll();
  }
  // Wall time so far during which at least one read was outstanding: submitted, and not yet completed by its worker.
  virtual int64_t busy_us() const = 0;
  // Why reads are not direct, or nullopt when O_DIRECT is in force for every open file.
  virtual std::optional<std::string> buffered_reason() const = 0;
};

struct PreadReaderOptions {
  int workers = 8;
  bool direct = true;      // false: buffered on purpose (tests, file systems without O_DIRECT)
  Trace* trace = nullptr;  // to record each read in, one track a worker; null: none
};

// A reader with `workers` threads (at least one). The block is asked of the file system (statx), else it is a page; how
// silent page-cache reads are found out stands in direct_file.cc. Destroying it drops queued reads and waits for those
// under way.
std::unique_ptr<FlashReader> make_pread_reader(const PreadReaderOptions& options);

}  // namespace flashneuron
