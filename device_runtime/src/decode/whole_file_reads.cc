#include "decode/whole_file_reads.h"

#include <algorithm>

namespace flashneuron {
namespace {

// A multiple of every block size, so that pieces neither overlap nor leave gaps when they are rounded out.
constexpr uint64_t kPieceBytes = 65536;

}  // namespace

Result<WholeFileReads> WholeFileReads::open(const Package& package, const std::vector<std::string>& names,
                                            FlashReader& reader, FlashFetcher& fetcher) {
  WholeFileReads reads(fetcher);
  for (const std::string& name : names) {
    FN_ASSIGN_OR_RETURN(const uint32_t file, reader.open(package.path_of(name)));
    reads.files_.emplace_back(file, package.bytes_of(name));
  }
  return reads;
}

Status WholeFileReads::read_all(Counters& counters) {
  for (const auto& [file, bytes] : files_) {
    std::vector<Extent> pieces;
    for (uint64_t offset = 0; offset < bytes; offset += kPieceBytes) {
      pieces.push_back({file, offset, static_cast<uint32_t>(std::min(kPieceBytes, bytes - offset))});
    }
    for (size_t done = 0; done < pieces.size();) {
      const std::span<const Extent> rest = std::span(pieces).subspan(done);
      const size_t count = fetcher_->fitting(rest, fetcher_->staging_bytes());
      FN_RETURN_IF_ERROR(fetcher_->fetch(rest.first(count), counters));
      done += count;
    }
  }
  return {};
}

}  // namespace flashneuron
