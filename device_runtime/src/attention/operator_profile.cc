#include "attention/operator_profile.h"

#include <executorch/devtools/etdump/etdump_flatcc.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

namespace flashneuron {

struct OperatorProfile::Recorder {
  Recorder(const std::string& program_name, const std::string& method_name)
      : program(program_name), method(method_name) {}
  const std::string program, method;
  executorch::etdump::ETDumpGen etdump;
};

OperatorProfile::OperatorProfile(std::string folder) : folder_(std::move(folder)) {}
OperatorProfile::~OperatorProfile() = default;

Result<std::unique_ptr<OperatorProfile>> OperatorProfile::create(const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::create_directory(folder, error)) {
    return Status(StatusCode::kIo, "cannot make the folder " + folder + " for the profile: " +
                                       (error ? error.message() : "it exists; name another or remove it"));
  }
  return std::unique_ptr<OperatorProfile>(new OperatorProfile(folder));
}

executorch::etdump::ETDumpGen& OperatorProfile::add(const std::string& program, const std::string& method) {
  recorders_.push_back(std::make_unique<Recorder>(program, method));
  return recorders_.back()->etdump;
}

Status OperatorProfile::write(const std::string& phase) {
  for (const std::unique_ptr<Recorder>& recorder : recorders_) {
    if (recorder->etdump.get_num_blocks() == 0) continue;
    char name[32];
    std::snprintf(name, sizeof(name), "%04zu.etdp", dumps_.size());
    const executorch::etdump::ETDumpResult made = recorder->etdump.get_etdump_data();
    const std::unique_ptr<void, decltype(&std::free)> owned(made.buf, &std::free);
    FN_RETURN_IF_ERROR(write_file(name, made.buf, made.size));
    dumps_.push_back({phase, recorder->program, recorder->method, name});
    recorder->etdump.reset();
  }
  nlohmann::json index = nlohmann::json::array();
  for (const Dump& dump : dumps_) {
    index.push_back({{"phase", dump.phase}, {"program", dump.program}, {"method", dump.method}, {"file", dump.file}});
  }
  const std::string text = nlohmann::json{{"dumps", std::move(index)}}.dump();
  return write_file("index.json", text.data(), text.size());
}

Status OperatorProfile::write_file(const std::string& name, const void* data, size_t bytes) const {
  const std::filesystem::path path = std::filesystem::path(folder_) / name;
  std::ofstream out(path, std::ios::binary);
  out.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
  out.close();
  if (!out) return {StatusCode::kIo, "cannot write " + path.string() + "; is the storage full?"};
  return {};
}

}  // namespace flashneuron
