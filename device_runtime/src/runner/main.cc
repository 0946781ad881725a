// Events have standard output for themselves: libraries that print there (an NPU vendor's do) reach standard error.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <iostream>
#include <ostream>
#include <span>
#include <streambuf>

#include "runner/run.h"

namespace {

// Writes to a file descriptor; what cannot be written sets the stream's bad bit.
class DescriptorBuffer final : public std::streambuf {
 public:
  explicit DescriptorBuffer(int descriptor) : descriptor_(descriptor) {
    setp(room_.data(), room_.data() + room_.size());
  }

 protected:
  int sync() override {
    for (const char* from = pbase(); from < pptr();) {
      const ssize_t written = write(descriptor_, from, static_cast<size_t>(pptr() - from));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return -1;
      from += written;
    }
    setp(room_.data(), room_.data() + room_.size());
    return 0;
  }
  int_type overflow(int_type value) override {
    if (sync() != 0) return traits_type::eof();
    return traits_type::eq_int_type(value, traits_type::eof()) ? traits_type::not_eof(value)
                                                               : sputc(traits_type::to_char_type(value));
  }

 private:
  const int descriptor_;
  std::array<char, 4096> room_;
};

}  // namespace

int main(int count, char** words) {
  const int events = dup(STDOUT_FILENO);
  if (events < 0) return 2;
  dup2(STDERR_FILENO, STDOUT_FILENO);
  DescriptorBuffer buffer(events);
  std::ostream out(&buffer);
  return flashneuron::run_verb(std::span<const char* const>(words + 1, static_cast<size_t>(count > 0 ? count - 1 : 0)),
                               std::cin, out);
}
