package io.flashneuron.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File
import java.util.concurrent.Executor

/** The chat's states, with the real runtime. */
class ChatTest {
    @get:Rule
    val temporary = TemporaryFolder()
    private val seen = mutableListOf<ChatState>()

    private fun chat(found: ModelPackage, worker: Executor = Fixture.atOnce) =
        ChatSession(Fixture.runtime, found, worker) { seen += it }

    private fun refusalOf(found: ModelPackage, ram: Long? = null): String {
        val chat = chat(found)
        chat.setRam(ram)
        chat.send(Fixture.PROMPT)
        assertEquals(Phase.FAILED, chat.state.phase)
        assertFalse(chat.state.busy)
        chat.close()
        return chat.state.message.orEmpty()
    }

    @Test
    fun `an answer comes piece by piece, with its figures`() {
        val chat = chat(Fixture.samplePackage())
        chat.send(Fixture.PROMPT)
        assertEquals(listOf(Phase.LOADING, Phase.READING, Phase.ANSWERING, Phase.IDLE), seen.map { it.phase }.distinct())
        val answers = seen.mapNotNull { it.turns.lastOrNull()?.answer }
        assertTrue(answers.zipWithNext().all { (before, after) -> after.startsWith(before) })
        assertTrue(answers.distinct().size > 3)
        val stats = chat.state.stats
        assertTrue(stats.tokensPerSecond!! > 0 && stats.hitRate!! in 0.0..1.0 && stats.promptTokens > 1)
        assertTrue(chat.state.roles.any { it.role == "neurons" && it.bytes > 0 })
        chat.close()
    }

    @Test
    fun `the next question has the conversation before it`() {
        val chat = chat(Fixture.samplePackage())
        chat.send(Fixture.PROMPT)
        val first = chat.state.stats.promptTokens
        chat.send("And then")
        assertEquals(2, chat.state.turns.size)
        assertTrue(chat.state.stats.promptTokens > first)
        chat.close()
    }

    @Test
    fun `stop ends the answer after a token`() {
        lateinit var chat: ChatSession
        chat = ChatSession(Fixture.runtime, Fixture.samplePackage(), Fixture.atOnce) { state ->
            if (state.stats.tokens == 2) chat.stop()
        }
        chat.send(Fixture.PROMPT)
        assertEquals(Phase.IDLE, chat.state.phase)
        assertEquals(2, chat.state.stats.tokens)
        chat.close()
    }

    @Test
    fun `memory that the system asks for in mid-answer changes no token`() {
        val found = Fixture.samplePackage()
        val whole = chat(found)
        whole.send(Fixture.PROMPT)
        lateinit var trimmed: ChatSession
        trimmed = ChatSession(Fixture.runtime, found, Fixture.atOnce) { state ->
            if (state.turns.size == 1 && state.stats.tokens in 3..4) trimmed.trim()
        }
        trimmed.send(Fixture.PROMPT)
        val all = Fixture.runtime.budget(found.settings()).getLong("all_resident_bytes")
        assertTrue(trimmed.state.ramNow!! < all)
        assertEquals(whole.state.turns, trimmed.state.turns)
        trimmed.send("And then") // with all that it had before
        assertNull(trimmed.state.ramNow)
        whole.close()
        trimmed.close()
    }

    @Test
    fun `what is sent while an answer comes is not taken`() {
        val waiting = ArrayDeque<Runnable>()
        val chat = chat(Fixture.samplePackage()) { waiting += it }
        chat.send("One")
        chat.send("Two")
        assertEquals(listOf("One"), chat.state.turns.map { it.prompt })
        assertEquals(1, waiting.size)
    }

    @Test
    fun `too little RAM says how much is needed, and more of it works`() {
        val found = Fixture.warm()
        val message = refusalOf(found, 1L shl 20)
        val least = Regex("""at least (\d+) MiB""").find(message)!!.groupValues[1].toLong()
        val chat = chat(found)
        chat.setRam((least shl 20) + SLACK)
        chat.send(Fixture.PROMPT)
        assertEquals(Phase.IDLE, chat.state.phase)
        chat.close()
    }

    @Test
    fun `a file that is cut short is named`() {
        val folder = Fixture.copyInto(temporary.root)
        File(folder, "embedding.bin").apply { writeBytes(readBytes().copyOf(100)) }
        assertTrue(refusalOf(ModelPackage.open(folder)).startsWith("embedding.bin has 100 of"))
    }

    @Test
    fun `damaged bytes are a line of the runtime's`() {
        val folder = Fixture.copyInto(temporary.root)
        val found = ModelPackage.open(folder)
        val shard = File(folder, found.files.first { it.path.endsWith(".ffn") }.path)
        shard.writeBytes(shard.readBytes().also { it.fill(0, 0, 64) })
        val message = refusalOf(found)
        assertTrue(message, message.contains(shard.name))
    }

    @Test
    fun `a damaged tokenizer and a damaged program are lines too`() {
        val folder = Fixture.copyInto(temporary.root)
        val found = ModelPackage.open(folder)
        val tokenizer = File(found.tokenizerPath)
        val good = tokenizer.readBytes()
        tokenizer.writeText("{".padEnd(good.size))
        assertTrue(refusalOf(found).contains("tokenizer"))
        tokenizer.writeBytes(good)
        val program = File(folder, found.files.first { it.path.endsWith(".pte") }.path)
        program.writeBytes(ByteArray(program.length().toInt()))
        assertTrue(refusalOf(found).isNotBlank())
    }

    @Test
    fun `a conversation that is too long for the model loses its oldest turns`() {
        val found = Fixture.samplePackage()
        TextCodec(Fixture.runtime.openTokenizer(found.tokenizerPath), found.promptPrefix).use { codec ->
            val turns = List(40) { Turn("Question $it", " and a long, long answer") }
            val ids = codec.promptOf(turns, 100)
            assertTrue(ids.size <= 100 && codec.decode(ids).endsWith("Question 39 and a long, long answer"))
        }
        val chat = chat(found)
        chat.send("word ".repeat(2000))
        assertEquals(Phase.FAILED, chat.state.phase)
        assertTrue(chat.state.message!!.contains("shorten it"))
    }

    @Test
    fun `a state without figures has none`() {
        assertNull(LiveStats().tokensPerSecond)
        assertNull(LiveStats().hitRate)
    }
}
