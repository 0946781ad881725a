package io.flashneuron.core

import org.json.JSONObject

/** The runtime as the app sees it. Settings are the keys of device_runtime/PROTOCOL.md; events are its JSON objects. */
interface Runtime {
    /** The `version` event. */
    fun version(): JSONObject

    /** The `budget` event: what each role would need. Throws [EngineException]. */
    fun budget(settings: Map<String, String>): JSONObject

    /** Loads a package, which takes a while and memory. Throws [EngineException]. */
    fun open(settings: Map<String, String>): Engine

    /** A package's tokenizer.json. Throws [EngineException]. */
    fun openTokenizer(path: String): Tokenizer
}

/** A package loaded for one set of settings. One thread at a time, but for [requestBudget]. */
interface Engine : AutoCloseable {
    /** The `ready` event: settings and budget in force. */
    val ready: JSONObject

    /**
     * Continues `prompt` from position 0 by the sampling keys given. [listener] gets `prefill` and `token` events on the
     * calling thread. Returns the `result` event. Throws [EngineException], after which the engine can be used again.
     */
    fun generate(prompt: IntArray, sampling: Map<String, String>, listener: EventListener): JSONObject

    /**
     * Another budget from the next token on, of this generation or the next one; no token changes. From any thread. The
     * listener gets a `budget_change` event, or an `error` event where the budget is too small and nothing has changed.
     */
    fun requestBudget(ramBytes: Long)
}

fun interface EventListener {
    /** False ends the generation after this token. */
    fun event(event: JSONObject): Boolean
}

/** Any number of threads. */
interface Tokenizer : AutoCloseable {
    /** Ids of the text alone: no prefix, no template. */
    fun encode(text: String): IntArray

    /** Text of ids, special tokens left out. */
    fun decode(ids: IntArray): String
}

/** What the runtime refused: an `error` event. [message] says what is wrong and what to do. */
class EngineException(val event: JSONObject) : Exception(event.optString("message")) {
    /** For the native library, which has the event as bytes. */
    constructor(bytes: ByteArray) : this(JSONObject(String(bytes, Charsets.UTF_8)))

    val code: String = event.optString("code")

    /** For `budget_too_small`: the least budget that works. */
    val minimumBytes: Long? = event.optJSONObject("detail")?.optLong("minimum_bytes", 0)?.takeIf { it > 0 }
}
