#include "jni_words.h"

#include <utility>

namespace flashneuron {

std::string bytes_of(JNIEnv* env, jbyteArray array) {
  std::string bytes(static_cast<size_t>(env->GetArrayLength(array)), '\0');
  env->GetByteArrayRegion(array, 0, static_cast<jsize>(bytes.size()), reinterpret_cast<jbyte*>(bytes.data()));
  return bytes;
}

std::vector<std::string> words_of(JNIEnv* env, jobjectArray array) {
  std::vector<std::string> words;
  for (jsize i = 0; i < env->GetArrayLength(array); ++i) {
    const auto word = static_cast<jbyteArray>(env->GetObjectArrayElement(array, i));
    words.push_back(bytes_of(env, word));
    env->DeleteLocalRef(word);
  }
  return words;
}

std::vector<int32_t> ids_of(JNIEnv* env, jintArray array) {
  std::vector<int32_t> ids(static_cast<size_t>(env->GetArrayLength(array)));
  env->GetIntArrayRegion(array, 0, static_cast<jsize>(ids.size()), ids.data());
  return ids;
}

jbyteArray bytes_to_java(JNIEnv* env, std::string_view bytes) {
  const auto length = static_cast<jsize>(bytes.size());
  const jbyteArray array = env->NewByteArray(length);
  if (array != nullptr) env->SetByteArrayRegion(array, 0, length, reinterpret_cast<const jbyte*>(bytes.data()));
  return array;
}

jbyteArray event_to_java(JNIEnv* env, const Json& event) {
  return bytes_to_java(env, event.dump(-1, ' ', false, Json::error_handler_t::replace));
}

jintArray ids_to_java(JNIEnv* env, std::span<const int32_t> ids) {
  const auto length = static_cast<jsize>(ids.size());
  const jintArray array = env->NewIntArray(length);
  if (array != nullptr) env->SetIntArrayRegion(array, 0, length, ids.data());
  return array;
}

void raise(JNIEnv* env, const Status& status, Json detail) {
  if (env->ExceptionCheck()) return;  // the first one tells what happened
  const jclass kind = env->FindClass("io/flashneuron/core/EngineException");
  if (kind == nullptr) return;
  const jmethodID make = env->GetMethodID(kind, "<init>", "([B)V");
  const jbyteArray event = event_to_java(env, error_event(status, std::move(detail)));
  if (make == nullptr || event == nullptr) return;
  if (const jobject exception = env->NewObject(kind, make, event)) env->Throw(static_cast<jthrowable>(exception));
}

}  // namespace flashneuron
