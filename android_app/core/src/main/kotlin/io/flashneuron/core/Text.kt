package io.flashneuron.core

private const val UNKNOWN = '\uFFFD' // what stands for bytes that are not UTF-8, yet
private const val CONTEXT_IDS = 8 // ids before a piece that its decoding may depend on
private const val OPEN_BYTES = 3 // of a character that is not complete

/** Prompts of a package: the model's prefix in front, once. Closes its tokenizer. */
class TextCodec(private val tokenizer: Tokenizer, private val prefix: IntArray) : AutoCloseable by tokenizer {
    /** Prefix and text; the prefix alone for no text. */
    fun encodePrompt(text: String): IntArray {
        val ids = tokenizer.encode(text)
        val hasPrefix = ids.size >= prefix.size && ids.copyOf(prefix.size).contentEquals(prefix)
        return if (hasPrefix) ids else prefix + ids
    }

    /** A conversation as one text, without its oldest turns where all would be more than [most] tokens. */
    fun promptOf(turns: List<Turn>, most: Int): IntArray {
        for (first in turns.indices) {
            val ids = encodePrompt(turns.drop(first).joinToString("\n") { it.prompt + it.answer })
            if (ids.size <= most) return ids
        }
        throw PackageException("The text is longer than the $most tokens that this model can read; shorten it.")
    }

    fun decode(ids: IntArray): String = tokenizer.decode(ids)

    fun stream(context: IntArray) = TextStream(this, context)
}

/**
 * Text of ids as they come: each piece ends at a complete character, and the pieces together are the whole text.
 *
 * Decodes a short window again for each id, since a byte, a space or a merge may change how its neighbours read.
 * Invariant: [shown] is the part of decode(window) that was handed out.
 */
class TextStream(private val codec: TextCodec, context: IntArray) {
    private var window = context.takeLast(CONTEXT_IDS).toIntArray()
    private var shown = codec.decode(window)

    fun push(id: Int): String {
        window += id
        val text = codec.decode(window)
        val open = minOf(text.length - text.trimEnd(UNKNOWN).length, OPEN_BYTES)
        val ready = text.dropLast(open)
        // Bytes of a character are still missing, and their neighbours read differently until they come.
        if (open > 0 && !ready.startsWith(shown)) return ""
        val piece = ready.drop(shown.length)
        if (ready.length > shown.length) shown = ready
        if (open == 0 && window.size > 2 * CONTEXT_IDS) forget()
        return piece
    }

    /** What was held back: marks for bytes that never became a character. */
    fun finish(): String {
        val text = codec.decode(window)
        return text.drop(shown.length).also { shown = text }
    }

    /** Shortens the window, unless that cuts a character in two; a later piece will do. */
    private fun forget() {
        val tail = window.takeLast(CONTEXT_IDS).toIntArray()
        val text = codec.decode(tail)
        if (UNKNOWN in text) return
        window = tail
        shown = text
    }
}
