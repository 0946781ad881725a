// The command line, its words separated by zero bytes, and every way in which its values are read.
#include <cstdlib>
#include <string>
#include <vector>

#include "runner/arguments.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flashneuron;
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::vector<const char*> words;
  for (size_t at = 0; at < text.size(); at += std::char_traits<char>::length(&text[at]) + 1) words.push_back(&text[at]);
  const Result<Arguments> arguments = parse_arguments(words);
  if (!arguments.ok()) return arguments.status().message().empty() ? std::abort(), 1 : 0;
  const Keys& keys = arguments.value().keys;
  if (const Result<Options> options = parse_options(keys); options.ok()) (void)settings_of(options.value());
  (void)parse_sampling(keys).ok();
  (void)parse_score_keys(keys).ok();
  if (keys.contains("folder")) (void)parse_probe(keys).ok();
  return 0;
}
