package io.flashneuron.core

/**
 * libflashneuron_jni.so, call by call (device_runtime/jni). Text is UTF-8, settings are `key=value` words, events are
 * JSON. Every call may throw [EngineException]. A handle is good until it is closed, once, and not on two threads at once,
 * tokenizers apart.
 */
internal class NativeLibrary {
    external fun version(): ByteArray

    external fun budget(words: Array<ByteArray>): ByteArray

    /** Tells [listener] the `ready` event. */
    external fun open(words: Array<ByteArray>, listener: NativeListener): Long

    /** [words] with the package again; only sampling counts. Returns the `result` event. */
    external fun generate(engine: Long, words: Array<ByteArray>, ids: IntArray, listener: NativeListener): ByteArray

    /** From any thread, but not after close(). What comes of it is told to the listener of the generation. */
    external fun requestBudget(engine: Long, ramBytes: Long)

    external fun close(engine: Long)

    external fun openTokenizer(path: ByteArray): Long

    external fun encode(tokenizer: Long, text: ByteArray): IntArray

    external fun decode(tokenizer: Long, ids: IntArray): ByteArray

    external fun closeTokenizer(tokenizer: Long)
}

internal fun interface NativeListener {
    fun event(event: ByteArray): Boolean
}
