#include "decode/whole_file_reads.h"

#include <algorithm>

namespace flashneuron {
namespace {

// A multiple of every block size, so that pieces neither overlap nor leave gaps when they are rounded out.
constexpr uint64_t kPieceBytes = 65536;

}  // namespace

Result<WholeFileReads> WholeFileReads::open(const Package& package, const std::vector<std::string>& names,
                                            Staging& staging) {
  WholeFileReads reads(staging);
  FlashReader& reader = staging.demand[0].queue().reader();
  for (const std::string& name : names) {
    FN_ASSIGN_OR_RETURN(const uint32_t file, reader.open(package.path_of(name)));
    reads.files_.emplace_back(file, package.bytes_of(name));
  }
  return reads;
}

Status WholeFileReads::read_all(Counters& counters) {
  int turn = 0;
  for (ReadBatch& batch : staging_->demand) batch.plan({}, counters);  // forgets what they held
  for (const auto& [file, bytes] : files_) {
    std::vector<Extent> pieces;
    for (uint64_t offset = 0; offset < bytes; offset += kPieceBytes) {
      pieces.push_back({file, offset, static_cast<uint32_t>(std::min(kPieceBytes, bytes - offset))});
    }
    // Two batches take turns, so that reads are always in flight.
    for (size_t done = 0; done < pieces.size(); turn = 1 - turn) {
      ReadBatch& batch = staging_->demand[turn];
      FN_RETURN_IF_ERROR(batch.wait_all(counters));
      const std::span<const Extent> rest = std::span(pieces).subspan(done);
      const size_t count = batch.fitting(rest);
      if (count == 0) return Status(StatusCode::kInternal, "the staging buffer is smaller than a piece of a file");
      batch.plan(rest.first(count), counters);
      batch.submit(counters);
      done += count;
    }
  }
  for (ReadBatch& batch : staging_->demand) FN_RETURN_IF_ERROR(batch.wait_all(counters));
  return {};
}

}  // namespace flashneuron
