#include "attention/npu_memory.h"

#include <map>
#include <string>
#include <utility>

#include "core/align.h"

namespace flashneuron {
namespace {

constexpr size_t kPage = 4096;  // what the memory is aligned to anyway: larger ones hide a block's start from QNN

}  // namespace

class NpuMemory::Blocks {
 public:
  explicit Blocks(const NpuAllocator& allocator) : allocator_(allocator) {}
  Blocks(const Blocks&) = delete;
  Blocks& operator=(const Blocks&) = delete;
  ~Blocks() {
    for (const auto& [bytes, block] : free_) allocator_.free(block);
  }

  std::byte* take(size_t bytes) {
    const auto found = free_.find(bytes);
    if (found == free_.end()) return static_cast<std::byte*>(allocator_.allocate(bytes, kPage));
    std::byte* const block = found->second;
    free_.erase(found);
    return block;
  }
  void give_back(std::byte* block, size_t bytes) { free_.emplace(bytes, block); }
  void add_tensor(std::byte* tensor, std::byte* block) { allocator_.add_tensor(tensor, block); }

 private:
  const NpuAllocator allocator_;
  std::multimap<size_t, std::byte*> free_;
};

NpuMemory::NpuMemory(std::shared_ptr<Blocks> blocks) : blocks_(std::move(blocks)) {}

std::unique_ptr<NpuMemory> NpuMemory::create(const NpuAllocator& allocator) {
  auto blocks = std::make_shared<Blocks>(allocator);
  std::byte* const first = blocks->take(kPage);
  if (first == nullptr) return nullptr;
  blocks->give_back(first, kPage);
  return std::unique_ptr<NpuMemory>(new NpuMemory(std::move(blocks)));
}

Result<AlignedBuffer> NpuMemory::allocate(size_t bytes, std::span<const size_t> tensors) {
  const size_t whole = round_up(bytes, kPage);
  std::byte* const block = blocks_->take(whole);
  if (block == nullptr) {
    return Status(StatusCode::kOutOfMemory, "the NPU's driver has no memory for " + std::to_string(bytes) + " bytes");
  }
  for (const size_t offset : tensors) blocks_->add_tensor(block + offset, block);
  return AlignedBuffer::adopt(block, whole,
                              [blocks = blocks_, whole](std::byte* data) { blocks->give_back(data, whole); });
}

}  // namespace flashneuron
