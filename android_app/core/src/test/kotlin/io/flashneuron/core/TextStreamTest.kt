package io.flashneuron.core

import org.junit.Assert.assertEquals
import org.junit.Test

class TextStreamTest {
    /** Ids are the bytes of UTF-8. */
    private object Bytes : Tokenizer {
        override fun encode(text: String) = text.toByteArray().map { it.toInt() and 0xFF }.toIntArray()

        override fun decode(ids: IntArray) = String(ByteArray(ids.size) { ids[it].toByte() }, Charsets.UTF_8)

        override fun close() = Unit
    }

    private val codec = TextCodec(Bytes, intArrayOf(65))

    private fun pieces(ids: IntArray): List<String> {
        val stream = codec.stream(intArrayOf(65))
        return ids.map(stream::push) + stream.finish()
    }

    @Test
    fun `no piece ends within a character`() {
        for (text in listOf("plain", "äöü and ✓", "🙂🙃 日本語の文 🇩🇪".repeat(4))) {
            val pieces = pieces(Bytes.encode(text))
            assertEquals(text, pieces.joinToString(""))
            assertEquals(emptyList<String>(), pieces.filter { '\uFFFD' in it })
        }
    }

    @Test
    fun `bytes that never become a character are marked at the end`() {
        assertEquals("a\uFFFD", pieces(intArrayOf('a'.code, 0xF0, 0x9F)).joinToString(""))
    }

    @Test
    fun `the prefix stands in front once`() {
        assertEquals(listOf(65, 98), codec.encodePrompt("b").toList())
        assertEquals(listOf(65, 98), codec.encodePrompt("Ab").toList())
    }
}
