#include <iostream>

#include "runner/run.h"

int main(int argc, char** argv) {
  const std::span<const char* const> words(argv, static_cast<size_t>(argc));
  return flashneuron::run_verb(words.empty() ? words : words.subspan(1), std::cin, std::cout);
}
