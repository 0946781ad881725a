#include "runner/trace_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace flashneuron {
namespace {

constexpr int kProcess = 1;
constexpr int kCompute = 1;  // thread; workers come after it

std::string_view kind_name(SpanKind kind) {
  switch (kind) {
    case SpanKind::kLoad:
      return "load";
    case SpanKind::kPrefill:
      return "prefill";
    case SpanKind::kToken:
      return "token";
    case SpanKind::kLayer:
      return "layer";
    case SpanKind::kEmbed:
      return "embed";
    case SpanKind::kAttention:
      return "attention";
    case SpanKind::kPredict:
      return "predict";
    case SpanKind::kPredictNext:
      return "predict next";
    case SpanKind::kFfn:
      return "ffn";
    case SpanKind::kMemory:
      return "memory";
    case SpanKind::kHead:
      return "head";
    case SpanKind::kDraft:
      return "draft";
    case SpanKind::kSample:
      return "sample";
    case SpanKind::kStall:
      return "stall";
  }
  return "";
}

class Printer {
 public:
  Printer(const Trace& trace, std::ostream& out) : trace_(trace), out_(out) {}

  void print_all() {
    name("process_name", kCompute, "flashneuron-runner");
    name_thread(kCompute, "compute");
    print_spans();
    for (size_t worker = 0; worker < trace_.reads().size(); ++worker) print_reads(worker);
    print_in_flight();
  }

 private:
  // One event a line.
  void print(const Json& event) {
    if (any_) out_ << ",\n";
    any_ = true;
    out_ << event.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  void name(const char* what, int thread, const std::string& name) {
    print({{"ph", "M"}, {"name", what}, {"pid", kProcess}, {"tid", thread}, {"args", {{"name", name}}}});
  }

  void name_thread(int thread, const std::string& thread_name) {
    name("thread_name", thread, thread_name);
    print({{"ph", "M"},
           {"name", "thread_sort_index"},
           {"pid", kProcess},
           {"tid", thread},
           {"args", {{"sort_index", thread}}}});
  }

  void slice(int thread, std::string_view name, const char* category, int64_t start_us, int64_t end_us, Json args) {
    print({{"ph", "X"},
           {"name", name},
           {"cat", category},
           {"pid", kProcess},
           {"tid", thread},
           {"ts", start_us - trace_.start_us()},
           {"dur", end_us - start_us},
           {"args", std::move(args)}});
  }

  void print_spans() {
    const TraceSpan* layer = nullptr;  // that encloses the span at hand
    for (const TraceSpan& span : trace_.compute().spans()) {
      Json args = Json::object();
      if (span.kind == SpanKind::kPrefill) args["tokens"] = span.number;
      if (span.kind == SpanKind::kToken) args["index"] = span.number;
      if (span.kind == SpanKind::kLayer) {
        layer = &span;
      } else if (layer != nullptr && span.depth <= layer->depth) {
        layer = nullptr;
      }
      if (layer != nullptr) args["layer"] = layer->number;
      std::string name(kind_name(span.kind));
      if (span.kind == SpanKind::kLayer) name += " " + std::to_string(span.number);
      slice(kCompute, name, span.kind == SpanKind::kStall ? "stall" : "compute", span.start_us, span.end_us,
            std::move(args));
    }
  }

  void print_reads(size_t worker) {
    const int thread = kCompute + 1 + static_cast<int>(worker);
    name_thread(thread, "I/O worker " + std::to_string(worker + 1));
    for (const TraceRead& read : trace_.reads()[worker].items()) {
      const Trace::File file = trace_.file(read.file);
      Json args = {{"bytes", read.bytes}, {"offset", read.offset}, {"queued_us", read.start_us - read.submitted_us}};
      if (!file.name.empty()) args["file"] = file.name;
      if (file.layer) args["layer"] = *file.layer;
      slice(thread, "read", "io", read.start_us, read.end_us, std::move(args));
    }
  }

  // Submitted, and not yet completed by a worker: what counts as io_us while it is over 0.
  void print_in_flight() {
    std::vector<std::pair<int64_t, int>> changes;  // at a time
    for (const ReadTrack& track : trace_.reads()) {
      for (const TraceRead& read : track.items()) {
        changes.emplace_back(read.submitted_us, 1);
        changes.emplace_back(read.end_us, -1);
      }
    }
    std::sort(changes.begin(), changes.end());
    int64_t in_flight = 0;
    for (size_t i = 0; i < changes.size(); ++i) {
      const auto [time_us, change] = changes[i];
      in_flight += change;
      if (i + 1 < changes.size() && changes[i + 1].first == time_us) continue;
      print({{"ph", "C"},
             {"name", "reads in flight"},
             {"pid", kProcess},
             {"ts", time_us - trace_.start_us()},
             {"args", {{"reads", in_flight}}}});
    }
  }

  const Trace& trace_;
  std::ostream& out_;
  bool any_ = false;
};

}  // namespace

void print_trace(const Trace& trace, Json other, std::ostream& out) {
  other["dropped_spans"] = trace.dropped();
  out << "{\"otherData\":" << other.dump(-1, ' ', false, Json::error_handler_t::replace)
      << ",\n\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
  Printer(trace, out).print_all();
  out << "\n]}\n";
}

TraceFile::TraceFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".tmp"), trace_(now_us()) {}

TraceFile::~TraceFile() {
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

Result<std::unique_ptr<TraceFile>> TraceFile::create(const std::string& path) {
  std::unique_ptr<TraceFile> file(new TraceFile(path));
  const bool folder = std::filesystem::is_directory(path);
  if (folder || !std::ofstream(file->temporary_)) {
    return Status(StatusCode::kIo, "cannot make the trace " + path +
                                       (folder ? ": it is a folder" : "; is its folder there, and may it be written?"));
  }
  return file;
}

Status TraceFile::write(Json other) const {
  std::ofstream out(temporary_, std::ios::binary);
  print_trace(trace_, std::move(other), out);
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(temporary_, path_, error);
  if (!out || error) return {StatusCode::kIo, "cannot write the trace " + path_ + "; is the storage full?"};
  return {};
}

}  // namespace flashneuron
