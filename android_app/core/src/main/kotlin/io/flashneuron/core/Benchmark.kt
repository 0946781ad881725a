package io.flashneuron.core

import org.json.JSONException
import org.json.JSONObject
import java.io.File
import java.io.IOException
import java.time.Instant
import java.util.concurrent.Executor

/** One run after another, at each budget in turn; null is all resident. */
data class BenchmarkPlan(
    val prompt: String,
    val source: String, // where the prompt is from, for people
    val maxNewTokens: Int,
    val budgets: List<Long?>,
    val repeats: Int = 1,
) {
    val runs: Int get() = budgets.size * repeats
}

/** One run's outcome, as the plot shows it. */
data class BenchmarkPoint(val ramBytes: Long?, val tokensPerSecond: Double, val hitRate: Double?, val file: File)

data class BenchmarkState(
    val running: Boolean = false,
    val runs: Int = 0,
    val done: Int = 0,
    val tokens: Int = 0, // of the run that goes on
    val points: List<BenchmarkPoint> = emptyList(),
    val message: String? = null, // of the last run that failed: the others went on
)

/**
 * Benchmarks of one package, written as run files into [folder]. Calls return at once; the work is done on [worker], which
 * also calls [onChange] with each new state.
 */
class BenchmarkSession(
    private val runtime: Runtime,
    private val found: ModelPackage,
    private val conditions: Conditions,
    private val folder: File,
    private val worker: Executor,
    private val onChange: (BenchmarkState) -> Unit,
) {
    @Volatile
    var state = BenchmarkState()
        private set

    @Volatile
    private var stopped = false

    @Synchronized
    fun start(plan: BenchmarkPlan) {
        if (state.running) return
        stopped = false
        update { BenchmarkState(running = true, runs = plan.runs, points = it.points) }
        worker.execute { work(plan) }
    }

    /** Ends after the token that is being computed; the run that it belongs to is not written. */
    fun stop() {
        stopped = true
    }

    private fun work(plan: BenchmarkPlan) {
        repeat(plan.repeats) { turn ->
            for (ram in plan.budgets) if (!stopped) guarded { run(plan, ram, turn) }
        }
        update { it.copy(running = false, tokens = 0) }
    }

    private fun run(plan: BenchmarkPlan, ram: Long?, turn: Int) {
        found.firstDefect()?.let { throw PackageException(it) }
        val prompt = TextCodec(runtime.openTokenizer(found.tokenizerPath), found.promptPrefix)
            .use { it.encodePrompt(plan.prompt) }
        val workload = Workload(plan.source, prompt, plan.maxNewTokens)
        // End-of-text is ignored, so that all runs have the same length.
        val sampling = mapOf("max_new_tokens" to plan.maxNewTokens.toString(), "ignore_eos" to "1")
        val budget = ram?.let { mapOf("ram" to it.toString()) } ?: emptyMap()
        val context = minOf(prompt.size + plan.maxNewTokens, found.maxContext)
        val asked = budget + sampling + mapOf("context" to context.toString())
        val started = Instant.now()
        val before = conditions.now()
        runtime.open(found.settings(asked)).use { engine ->
            val recording = Recording(engine.ready)
            val result = engine.generate(prompt, sampling) { event ->
                recording.add(event)
                update { it.copy(tokens = recording.tokens.size) }
                !stopped
            }
            if (stopped) return
            val version = runtime.version().getString("version")
            val run = runJson(
                found, version, started, turn, workload, asked, recording, result, before, conditions.now(),
            )
            val file = writeRun(run, folder, "${found.folder.name}-${started.toEpochMilli()}")
            update { it.copy(done = it.done + 1, tokens = 0, points = it.points + pointOf(ram, result, file)) }
        }
    }

    private fun guarded(work: () -> Unit) = try {
        work()
    } catch (refused: EngineException) {
        update { it.copy(message = explained(refused)) }
    } catch (refused: PackageException) {
        update { it.copy(message = refused.message) }
    } catch (damaged: JSONException) {
        update { it.copy(message = "The runtime and the app are of different versions (${damaged.message}).") }
    } catch (unwritten: IOException) {
        update { it.copy(message = "The run could not be written (${unwritten.message}); free some storage.") }
    }

    @Synchronized
    private fun update(change: (BenchmarkState) -> BenchmarkState) {
        state = change(state)
        onChange(state)
    }
}

private fun pointOf(ram: Long?, result: JSONObject, file: File): BenchmarkPoint {
    val totals = result.getJSONObject("totals")
    val selected = totals.getLong("selected")
    return BenchmarkPoint(
        ramBytes = ram,
        tokensPerSecond = result.getInt("decode_steps") * 1e6 / maxOf(totals.getLong("wall_us"), 1),
        hitRate = if (selected > 0) totals.getLong("hits").toDouble() / selected else null,
        file = file,
    )
}
