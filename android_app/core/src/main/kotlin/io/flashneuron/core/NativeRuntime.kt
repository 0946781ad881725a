package io.flashneuron.core

import org.json.JSONObject

/** The runtime in libflashneuron_jni.so, which must be loaded already. */
class NativeRuntime private constructor() : Runtime {
    private val library = NativeLibrary()

    override fun version() = json(library.version())

    override fun budget(settings: Map<String, String>) = json(library.budget(words(settings)))

    override fun open(settings: Map<String, String>): Engine {
        var ready = JSONObject()
        val handle = library.open(words(settings)) { bytes ->
            ready = json(bytes)
            true
        }
        return NativeEngine(library, handle, settings, ready)
    }

    override fun openTokenizer(path: String): Tokenizer =
        NativeTokenizer(library, library.openTokenizer(path.toByteArray()))

    companion object {
        /** From the app's own libraries. Throws [UnsatisfiedLinkError] where it was not built in. */
        fun load(): NativeRuntime {
            System.loadLibrary("flashneuron_jni")
            return NativeRuntime()
        }

        /** From a file. */
        fun load(file: String): NativeRuntime {
            System.load(file)
            return NativeRuntime()
        }
    }
}

private fun json(bytes: ByteArray) = JSONObject(String(bytes, Charsets.UTF_8))

private fun words(keys: Map<String, String>) = keys.map { (key, value) -> "$key=$value".toByteArray() }.toTypedArray()

/** A native object that is let go of once; using it later is a mistake of the caller that must not reach native code. */
private class Handle(private var value: Long, private val free: (Long) -> Unit) {
    fun get(): Long = value.also { check(it != 0L) { "it is closed" } }

    /** From any thread; does nothing once closed. */
    @Synchronized
    fun ifOpen(action: (Long) -> Unit) {
        if (value != 0L) action(value)
    }

    @Synchronized
    fun close() {
        if (value != 0L) free(value)
        value = 0
    }
}

private class NativeEngine(
    private val library: NativeLibrary,
    handle: Long,
    private val settings: Map<String, String>,
    override val ready: JSONObject,
) : Engine {
    private val engine = Handle(handle, library::close)

    override fun generate(prompt: IntArray, sampling: Map<String, String>, listener: EventListener) =
        json(library.generate(engine.get(), words(settings + sampling), prompt) { listener.event(json(it)) })

    override fun requestBudget(ramBytes: Long) = engine.ifOpen { library.requestBudget(it, ramBytes) }

    override fun close() = engine.close()
}

private class NativeTokenizer(private val library: NativeLibrary, handle: Long) : Tokenizer {
    private val tokenizer = Handle(handle, library::closeTokenizer)

    override fun encode(text: String) = library.encode(tokenizer.get(), text.toByteArray())

    override fun decode(ids: IntArray) = String(library.decode(tokenizer.get(), ids), Charsets.UTF_8)

    override fun close() = tokenizer.close()
}
