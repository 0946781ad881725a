// Values of Java as those of C++ and back, and failures as exceptions. Text is UTF-8 in byte arrays throughout, since
// JNI's own strings are in a form of UTF-8 that has no characters beyond U+FFFF.
#pragma once

#include <jni.h>

#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "flashneuron/status.h"
#include "runner/events.h"

namespace flashneuron {

std::string bytes_of(JNIEnv* env, jbyteArray array);
std::vector<std::string> words_of(JNIEnv* env, jobjectArray array);
std::vector<int32_t> ids_of(JNIEnv* env, jintArray array);
// Null with an exception pending where memory is short.
jbyteArray bytes_to_java(JNIEnv* env, std::string_view bytes);
jbyteArray event_to_java(JNIEnv* env, const Json& event);
jintArray ids_to_java(JNIEnv* env, std::span<const int32_t> ids);

// EngineException with the `error` event of PROTOCOL.md.
void raise(JNIEnv* env, const Status& status, Json detail = Json::object());

// Runs `work`, which answers a Result; its failure, and any C++ exception, becomes an EngineException.
template <typename Work>
auto answer(JNIEnv* env, Work work) noexcept -> std::remove_cvref_t<decltype(work().value())> {
  try {
    auto result = work();
    if (result.ok()) return std::move(result).value();
    raise(env, result.status());
  } catch (const std::bad_alloc&) {
    raise(env, {StatusCode::kOutOfMemory, "memory ran out; choose a smaller budget, or close other apps"});
  } catch (const std::exception& error) {
    raise(env, {StatusCode::kInternal, error.what()});
  }
  return {};
}

}  // namespace flashneuron
