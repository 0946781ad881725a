#include "package/package.h"

#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "package/file_io.h"
#include "package/limits.h"

namespace flashneuron {
namespace {

Status check_size(const std::string& path, const FileEntry& entry) {
  struct stat facts = {};
  if (stat(path.c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) {
    const std::string why = errno == EACCES ? std::generic_category().message(errno) : "is missing";
    return {StatusCode::kCorrupt, path + ": " + why + " (" + entry.path + "); push or copy the package again"};
  }
  if (static_cast<uint64_t>(facts.st_size) == entry.bytes) return {};
  return {StatusCode::kCorrupt, path + ": has " + std::to_string(facts.st_size) + " bytes, the manifest says " +
                                    std::to_string(entry.bytes) + " (" + entry.path +
                                    "); push or copy the package again"};
}

}  // namespace

Result<Package> Package::open(const std::string& folder, const std::optional<std::string>& store) {
  uint64_t bytes = 0;
  // One byte over the limit is enough for parse_manifest to refuse it.
  Result<std::vector<std::byte>> text = read_head(folder + "/manifest.json", kMaxManifestBytes + 1, bytes);
  if (!text.ok() && text.status().code() == StatusCode::kNotFound) {
    return Status(StatusCode::kNotFound, folder + ": has no manifest.json, so it is not a (finished) package");
  }
  if (!text.ok()) return text.status();
  const std::string_view json(reinterpret_cast<const char*>(text.value().data()), text.value().size());
  Result<Manifest> manifest = parse_manifest(json);
  if (!manifest.ok()) return Status(manifest.status().code(), folder + "/" + manifest.status().message());

  Package package;
  package.folder_ = folder;
  package.store_ = store;
  package.manifest_ = std::move(manifest).value();
  for (const auto& [name, entry] : package.manifest_.files) {
    FN_RETURN_IF_ERROR(check_size(package.path_of(name), entry));
  }
  return package;
}

std::string Package::path_of(const std::string& name) const {
  return store_ ? *store_ + "/" + manifest_.files.at(name).sha256 : folder_ + "/" + name;
}

uint64_t Package::bytes_of(const std::string& name) const { return manifest_.files.at(name).bytes; }

uint64_t Package::role_bytes(const std::string& role) const {
  uint64_t bytes = 0;
  for (const auto& [name, entry] : manifest_.files) bytes += entry.role == role ? entry.bytes : 0;
  return bytes;
}

Result<std::vector<std::byte>> Package::read(const std::string& name) const {
  uint64_t bytes = 0;
  FN_ASSIGN_OR_RETURN(std::vector<std::byte> content, read_head(path_of(name), bytes_of(name), bytes));
  if (bytes != bytes_of(name)) return Status(StatusCode::kIo, path_of(name) + ": its size changed while in use");
  return content;
}

}  // namespace flashneuron
