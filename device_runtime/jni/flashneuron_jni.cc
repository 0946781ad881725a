// The engine and the tokeniser for io.flashneuron.core.NativeLibrary, whose comments are the contract. This layer only
// translates: settings come as the runner's key=value words, and what happens goes out as its events (PROTOCOL.md).
#include <memory>
#include <optional>
#include <utility>

#include "flashneuron/engine.h"
#include "flashneuron/session.h"
#include "jni_words.h"
#include "runner/arguments.h"
#include "telemetry/process_memory.h"
#include "telemetry/timer.h"
#include "tokenizer/tokenizer.h"

namespace flashneuron {
namespace {

struct Loaded {
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Session> session;  // ends before its engine
  ~Loaded() { session.reset(); }
};

template <typename T>
T* object_at(jlong handle) {
  return reinterpret_cast<T*>(handle);
}

template <typename T>
jlong handle_of(std::unique_ptr<T> object) {
  return reinterpret_cast<jlong>(object.release());
}

Result<Keys> keys_of(JNIEnv* env, const char* verb, jobjectArray array) {
  const std::vector<std::string> given = words_of(env, array);
  std::vector<const char*> words = {verb, "version=" FLASHNEURON_VERSION};
  for (const std::string& word : given) words.push_back(word.c_str());
  FN_ASSIGN_OR_RETURN(Arguments arguments, parse_arguments(words));
  return std::move(arguments.keys);
}

// Java's listener. What it throws stays pending: no more is told, and the caller returns to Java at once.
class Listener {
 public:
  Listener(JNIEnv* env, jobject object)
      : env_(env), object_(object), method_(env->GetMethodID(env->GetObjectClass(object), "event", "([B)Z")) {}

  // False: it does not go on.
  bool tell(const Json& event) const {
    if (thrown()) return false;
    const jbyteArray bytes = event_to_java(env_, event);
    if (bytes == nullptr) return false;
    const jboolean goes_on = env_->CallBooleanMethod(object_, method_, bytes);
    const bool stays = !thrown() && goes_on == JNI_TRUE;
    env_->DeleteLocalRef(bytes);
    return stays;
  }
  bool thrown() const { return env_->ExceptionCheck() == JNI_TRUE; }

 private:
  JNIEnv* env_;
  jobject object_;
  jmethodID method_;
};

Result<jbyteArray> budget(JNIEnv* env, jobjectArray words) {
  FN_ASSIGN_OR_RETURN(const Keys keys, keys_of(env, "budget", words));
  FN_ASSIGN_OR_RETURN(const Options options, parse_options(keys));
  FN_ASSIGN_OR_RETURN(const Budget found, Engine::budget(options));
  Json event = {{"event", "budget"}};
  event.update(budget_json(found));
  return event_to_java(env, event);
}

Result<jlong> open(JNIEnv* env, jobjectArray words, jobject listener) {
  FN_ASSIGN_OR_RETURN(const Keys keys, keys_of(env, "generate", words));
  FN_ASSIGN_OR_RETURN(const Options options, parse_options(keys));
  FN_RETURN_IF_ERROR(parse_sampling(keys).status());
  const int64_t start_us = now_us();
  auto loaded = std::make_unique<Loaded>();
  Result<std::unique_ptr<Engine>> engine = Engine::load(options);
  if (engine.status().code() == StatusCode::kBudgetTooSmall) {
    FN_ASSIGN_OR_RETURN(const Budget needed, Engine::budget(options));
    raise(env, engine.status(), budget_json(needed));
  }
  FN_ASSIGN_OR_RETURN(loaded->engine, std::move(engine));
  FN_ASSIGN_OR_RETURN(loaded->session, loaded->engine->new_session());
  const Listener told(env, listener);
  told.tell(ready_event(*loaded->engine, sampling_of(keys), now_us() - start_us));
  if (told.thrown()) return jlong{0};
  return handle_of(std::move(loaded));
}

Result<jbyteArray> generate(JNIEnv* env, Loaded& loaded, jobjectArray words, jintArray ids, jobject listener) {
  FN_ASSIGN_OR_RETURN(const Keys keys, keys_of(env, "generate", words));
  FN_ASSIGN_OR_RETURN(const Sampling sampling, parse_sampling(keys));
  const std::vector<int32_t> prompt = ids_of(env, ids);
  const Listener told(env, listener);
  loaded.session->reset();
  int64_t next = 0;  // token
  const auto budget_changed = [&](const Result<BudgetChange>& change) {
    told.tell(change.ok() ? budget_change_event(next, change.value(), read_rss_bytes())
                          : error_event(change.status(), Json::object()));
  };
  const GenerationListener events{
      .on_prefill = [&](int64_t tokens, const Counters& counters) { told.tell(prefill_event(tokens, counters)); },
      .on_token =
          [&](const TokenEvent& token) {
            next = token.index + 1;
            return told.tell(token_event(token, std::nullopt));
          },
      .on_budget = budget_changed};
  FN_ASSIGN_OR_RETURN(const Generation done, loaded.session->generate(prompt, sampling, events));
  if (told.thrown()) return jbyteArray{nullptr};
  return event_to_java(env, generation_event(done, read_process_memory(), loaded.engine->budget()));
}

Result<jlong> open_tokenizer(JNIEnv* env, jbyteArray path) {
  FN_ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::open(bytes_of(env, path)));
  return handle_of(std::make_unique<Tokenizer>(std::move(tokenizer)));
}

Result<jintArray> encode(JNIEnv* env, const Tokenizer& tokenizer, jbyteArray text) {
  FN_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.encode(bytes_of(env, text)));
  return ids_to_java(env, ids);
}

}  // namespace
}  // namespace flashneuron

using namespace flashneuron;  // for the entry points below alone

#define FN_JNI(type, name) extern "C" JNIEXPORT type JNICALL Java_io_flashneuron_core_NativeLibrary_##name

FN_JNI(jbyteArray, version)(JNIEnv* env, jobject) {
  return answer(env, [&] { return Result<jbyteArray>(event_to_java(env, version_event())); });
}
FN_JNI(jbyteArray, budget)(JNIEnv* env, jobject, jobjectArray words) {
  return answer(env, [&] { return budget(env, words); });
}
FN_JNI(jlong, open)(JNIEnv* env, jobject, jobjectArray words, jobject listener) {
  return answer(env, [&] { return open(env, words, listener); });
}
FN_JNI(jbyteArray, generate)
(JNIEnv* env, jobject, jlong handle, jobjectArray words, jintArray ids, jobject listener) {
  return answer(env, [&] { return generate(env, *object_at<Loaded>(handle), words, ids, listener); });
}
FN_JNI(void, requestBudget)(JNIEnv*, jobject, jlong handle, jlong ram_bytes) {
  object_at<Loaded>(handle)->session->request_budget(ram_bytes);
}
FN_JNI(void, close)(JNIEnv*, jobject, jlong handle) { delete object_at<Loaded>(handle); }

FN_JNI(jlong, openTokenizer)(JNIEnv* env, jobject, jbyteArray path) {
  return answer(env, [&] { return open_tokenizer(env, path); });
}
FN_JNI(jintArray, encode)(JNIEnv* env, jobject, jlong handle, jbyteArray text) {
  return answer(env, [&] { return encode(env, *object_at<Tokenizer>(handle), text); });
}
FN_JNI(jbyteArray, decode)(JNIEnv* env, jobject, jlong handle, jintArray ids) {
  return answer(env, [&] {
    return Result<jbyteArray>(bytes_to_java(env, object_at<Tokenizer>(handle)->decode(ids_of(env, ids))));
  });
}
FN_JNI(void, closeTokenizer)(JNIEnv*, jobject, jlong handle) { delete object_at<Tokenizer>(handle); }
