package io.flashneuron.core

import org.json.JSONException
import org.json.JSONObject
import java.util.concurrent.Executor

const val CHAT_CONTEXT = 2048 // tokens of a conversation that are remembered, if the model takes as many
const val CHAT_ANSWER = 256 // tokens of one answer

/**
 * A conversation with one package. Calls return at once; the work is done on [worker], one thread, which also calls
 * [onChange] with each new state. The engine stays loaded between answers until the budget changes or [release].
 */
class ChatSession(
    private val runtime: Runtime,
    private val found: ModelPackage,
    private val worker: Executor,
    private val onChange: (ChatState) -> Unit,
) {
    @Volatile
    var state = ChatState()
        private set

    @Volatile
    private var stopped = false
    @Volatile
    private var engine: Engine? = null // it and its budget are the worker's to change
    private var engineRam: Long? = null

    /** Nothing happens while an answer is on its way. */
    @Synchronized
    fun send(prompt: String) {
        if (state.busy || prompt.isBlank()) return
        stopped = false
        update { it.asked(prompt) }
        worker.execute { guarded { answer() } }
    }

    /** Ends the answer after the token that is being computed. */
    fun stop() {
        stopped = true
    }

    /** From the next answer on. */
    @Synchronized
    fun setRam(bytes: Long?) = update { it.copy(ramBytes = bytes) }

    /** Of what an answer that is on its way may still give up, half goes at its next token. No token changes. */
    fun trim() {
        val loaded = engine ?: return
        val budget = loaded.ready.getJSONObject("budget")
        val now = state.ramNow ?: budget.optLong("ram_bytes", budget.getLong("all_resident_bytes"))
        loaded.requestBudget((now + budget.getLong("minimum_bytes")) / 2)
    }

    /** Gives the engine's memory back, once no answer is on its way; the next answer loads it again. */
    fun release() = worker.execute(::closeEngine)

    /** [release], for good. */
    fun close() {
        stop()
        release()
    }

    private fun answer() {
        val codec = TextCodec(runtime.openTokenizer(found.tokenizerPath), found.promptPrefix)
        codec.use {
            val context = minOf(CHAT_CONTEXT, found.maxContext)
            val most = minOf(CHAT_ANSWER, context / 4)
            val prompt = codec.promptOf(state.turns, context - most)
            val loaded = engineFor(state.ramBytes, context)
            update { it.ready(loaded.ready) }
            val stream = codec.stream(prompt)
            val result = loaded.generate(prompt, mapOf("max_new_tokens" to most.toString())) { event ->
                val text = if (event.optString("event") == "token") stream.push(event.getInt("id")) else ""
                update { it.on(event, text) }
                !stopped
            }
            update { it.done(stream.finish(), noteOf(result, most)) }
        }
    }

    private fun engineFor(ram: Long?, context: Int): Engine {
        engine?.let { if (engineRam == ram && state.ramNow == null) return it }
        closeEngine() // before the next one needs its memory
        found.firstDefect()?.let { throw PackageException(it) }
        val keys = mapOf("context" to context.toString()) + (ram?.let { mapOf("ram" to it.toString()) } ?: emptyMap())
        return runtime.open(found.settings(keys)).also {
            engine = it
            engineRam = ram
        }
    }

    private fun closeEngine() {
        engine?.close()
        engine = null
    }

    private fun noteOf(result: JSONObject, most: Int): String? = when {
        result.optString("finish") == "length" -> "The answer was cut off at $most tokens."
        found.hasChatTemplate -> "This model has a chat template, which the app does not fill in: it continues your text."
        else -> null
    }

    /** Whatever goes wrong becomes a line in the state. */
    private fun guarded(work: () -> Unit) = try {
        work()
    } catch (refused: EngineException) {
        update { it.failed(explained(refused)) }
    } catch (refused: PackageException) {
        update { it.failed(refused.message.orEmpty()) }
    } catch (damaged: JSONException) {
        update { it.failed("The runtime and the app are of different versions (${damaged.message}); install both again.") }
    }

    @Synchronized
    private fun update(change: (ChatState) -> ChatState) {
        state = change(state)
        onChange(state)
    }
}

/** With what there is to do about it here. */
fun explained(refused: EngineException): String = when (val least = refused.minimumBytes) {
    null -> refused.message.orEmpty()
    else -> "Too little RAM: this model needs at least ${least.inMebibytes()} MiB. Move the RAM slider up."
}

/** Rounded up. */
fun Long.inMebibytes(): Long = (this + (1 shl 20) - 1) shr 20
