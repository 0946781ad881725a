package io.flashneuron.core

import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Test

class NativeRuntimeTest {
    private val runtime = Fixture.runtime
    private val found = Fixture.samplePackage()

    private fun codec() = TextCodec(runtime.openTokenizer(found.tokenizerPath), found.promptPrefix)

    private fun ids(list: JSONArray) = IntArray(list.length()) { list.getInt(it) }

    private fun generate(settings: Map<String, String>, sampling: Map<String, String>, listener: EventListener) =
        runtime.open(found.settings(settings)).use { engine ->
            engine.generate(codec().use { it.encodePrompt(Fixture.PROMPT) }, sampling, listener)
        }

    private val sampling = mapOf("max_new_tokens" to "${Fixture.TOKENS}")

    @Test
    fun `tokens are those of flashneuron run`() {
        val reference = Fixture.reference
        assumeTrue("-Dflashneuron.reference=FILE is not set", reference != null)
        val result = generate(emptyMap(), sampling) { true }
        assertArrayEquals(ids(reference!!.getJSONArray("token_ids")), ids(result.getJSONArray("token_ids")))
    }

    @Test
    fun `a budget changes no token, and the stream is the whole text`() {
        val all = generate(emptyMap(), sampling) { true }
        Fixture.warm()
        val least = runtime.budget(found.settings(mapOf("context" to "64"))).getLong("minimum_bytes")
        val ram = mapOf("ram" to "${least + SLACK}", "context" to "64")
        codec().use { codec ->
            val stream = codec.stream(codec.encodePrompt(Fixture.PROMPT))
            val text = StringBuilder()
            val small = generate(ram, sampling) { event ->
                if (event.getString("event") == "token") text.append(stream.push(event.getInt("id")))
                true
            }
            text.append(stream.finish())
            val ids = ids(all.getJSONArray("token_ids"))
            assertArrayEquals(ids, ids(small.getJSONArray("token_ids")))
            assertEquals(codec.decode(ids), text.toString())
        }
    }

    @Test
    fun `false stops after a token, and the engine goes on`() {
        runtime.open(found.settings()).use { engine ->
            val prompt = codec().use { it.encodePrompt(Fixture.PROMPT) }
            var tokens = 0
            val cut = engine.generate(prompt, sampling) { event -> event.getString("event") != "token" || ++tokens < 3 }
            assertEquals("stopped", cut.getString("finish"))
            assertEquals(3, cut.getJSONArray("token_ids").length())
            assertEquals("length", engine.generate(prompt, sampling) { true }.getString("finish"))
        }
    }

    @Test
    fun `what the listener throws comes out`() {
        val thrown = assertThrows(IllegalStateException::class.java) {
            generate(emptyMap(), sampling) { throw IllegalStateException("as said") }
        }
        assertEquals("as said", thrown.message)
    }

    @Test
    fun `texts with emoji, CJK and control characters come back`() {
        codec().use { codec ->
            for (text in listOf("", "Grüße, 日本語 und 한국어", "🙂👩‍👩‍👧 🇩🇪", "a\u0000b\u001b[0m\t\r\n", "</s> is no end")) {
                val ids = runtime.openTokenizer(found.tokenizerPath).use { it.encode(text) }
                assertEquals(text.replace("</s>", ""), codec.decode(ids))
            }
        }
    }

    @Test
    fun `a setting that is not known is refused by name`() {
        val refused = assertThrows(EngineException::class.java) { runtime.open(found.settings(mapOf("speed" to "high"))) }
        assertEquals("usage", refused.code)
        assertTrue(refused.message, refused.message!!.contains("speed"))
    }

    @Test
    fun `an engine that is closed is not used again`() {
        val engine = runtime.open(found.settings())
        engine.close()
        engine.close()
        assertThrows(IllegalStateException::class.java) { engine.generate(intArrayOf(2), sampling) { true } }
    }

    @Test
    fun `the library says its version`() {
        val event: JSONObject = runtime.version()
        assertEquals("version", event.getString("event"))
        assertTrue(Regex("""\d+\.\d+\.\d+""").matches(event.getString("version")))
    }
}
