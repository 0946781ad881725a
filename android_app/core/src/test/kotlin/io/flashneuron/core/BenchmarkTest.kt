package io.flashneuron.core

import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File

class BenchmarkTest {
    @get:Rule
    val temporary = TemporaryFolder()
    private val seen = mutableListOf<BenchmarkState>()
    private val conditions = Conditions {
        JSONObject().put("kind", "jvm").put("thermal", JSONObject().put("status", "none"))
    }

    /** Where the stage that runs these tests looks for run files. */
    private val folder by lazy { System.getProperty("flashneuron.runs")?.let(::File) ?: temporary.newFolder("runs") }

    private fun session(onChange: (BenchmarkState) -> Unit = { seen += it }) =
        BenchmarkSession(Fixture.runtime, Fixture.samplePackage(), conditions, folder, Fixture.atOnce, onChange)

    private fun plan(vararg budgets: Long?) = BenchmarkPlan(Fixture.PROMPT, "a test", Fixture.TOKENS, budgets.toList())

    @Test
    fun `a run file for each budget, with the same tokens`() {
        val found = Fixture.warm()
        val least = Fixture.runtime.budget(found.settings(mapOf("context" to "64"))).getLong("minimum_bytes")
        val session = session()
        session.start(plan(null, least + SLACK))
        assertNull(session.state.message)
        assertEquals(2, session.state.done)
        assertFalse(session.state.running)
        val runs = session.state.points.map { JSONObject(it.file.readText()) }
        val tokens = runs.map { it.getJSONObject("result").getJSONArray("token_ids").toString() }
        assertEquals(1, tokens.distinct().size)
        assertEquals(Fixture.TOKENS, runs[0].getJSONArray("tokens").length())
        assertTrue(session.state.points.all { it.tokensPerSecond > 0 })
        assertEquals("jvm", runs[0].getJSONObject("conditions_after").getString("kind"))
        assertTrue(seen.any { it.running && it.tokens > 0 })
    }

    @Test
    fun `a budget that is too small is told, and the others run`() {
        val session = session()
        session.start(plan(1L shl 20, null))
        assertTrue(session.state.message!!.startsWith("Too little RAM"))
        assertEquals(1, session.state.done)
    }

    @Test
    fun `stopping writes no half run`() {
        lateinit var session: BenchmarkSession
        session = session { if (it.tokens == 3) session.stop() }
        val before = folder.list().orEmpty().size
        session.start(plan(null, null))
        assertFalse(session.state.running)
        assertEquals(0, session.state.done)
        assertEquals(before, folder.list().orEmpty().size)
    }
}
