#include "flash/whole_read.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>

#include "core/align.h"

namespace flashneuron {

Status read_whole(const Pread& pread, const ReadRequest& request, uint64_t file_bytes, uint32_t block_bytes) {
  const auto error = [&](const std::string& what) {
    return Status(StatusCode::kIo, "reading " + std::to_string(request.length) + " bytes at " +
                                       std::to_string(request.offset) + ": " + what);
  };
  if (request.offset >= file_bytes || request.offset + request.length > round_up(file_bytes, block_bytes)) {
    return error("lies past the file's end at " + std::to_string(file_bytes));
  }
  const uint64_t wanted = std::min<uint64_t>(request.length, file_bytes - request.offset);
  for (uint64_t done = 0;;) {
    const ssize_t count = pread(request.destination + done, request.length - done, request.offset + done);
    if (count == -EINTR) continue;
    if (count < 0) return error(std::generic_category().message(static_cast<int>(-count)));
    if (done + static_cast<uint64_t>(count) >= wanted) return {};
    const uint64_t progress = round_down(static_cast<uint64_t>(count), block_bytes);
    if (progress == 0) return error("the file ends too early; it was cut while in use");
    done += progress;
  }
}

}  // namespace flashneuron
