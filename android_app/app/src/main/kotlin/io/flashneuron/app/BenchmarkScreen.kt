package io.flashneuron.app

import android.content.Intent
import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.Button
import android.widget.EditText
import android.widget.ProgressBar
import android.widget.TextView
import io.flashneuron.core.BenchmarkPlan
import io.flashneuron.core.BenchmarkState

/** Latency by RAM budget of the chosen package; every run is a file that `flashneuron report` reads. */
class BenchmarkScreen(private val app: FlashneuronApp, inflater: LayoutInflater, parent: ViewGroup) : Screen {
    override val view: View = inflater.inflate(R.layout.screen_benchmark, parent, false)
    private val prompt: EditText = view.findViewById(R.id.prompt)
    private val progress: TextView = view.findViewById(R.id.progress)
    private val bar: ProgressBar = view.findViewById(R.id.bar)
    private val start: Button = view.findViewById(R.id.start)
    private val plot: PlotView = view.findViewById(R.id.plot)
    private val share: Button = view.findViewById(R.id.share)

    init {
        start.setOnClickListener {
            val benchmark = app.benchmark ?: return@setOnClickListener
            if (benchmark.state.running) return@setOnClickListener benchmark.stop()
            app.chat?.release() // a phone holds one engine
            benchmark.start(plan())
        }
        share.setOnClickListener { shareLast() }
    }

    override fun render() {
        val state = app.benchmark?.state
        progress.text = when {
            state == null -> app.getString(R.string.choose_package)
            state.running -> progressOf(state)
            else -> state.message ?: app.getString(R.string.benchmark_idle)
        }
        bar.max = maxOf(state?.runs ?: 0, 1) * TOKENS
        bar.progress = (state?.done ?: 0) * TOKENS + (state?.tokens ?: 0)
        start.text = app.getString(if (state?.running == true) R.string.stop else R.string.benchmark_start)
        start.isEnabled = state != null && app.ramRange != null
        share.isEnabled = state?.points.orEmpty().isNotEmpty()
        plot.show(state?.points.orEmpty())
    }

    private fun progressOf(state: BenchmarkState) =
        app.getString(R.string.benchmark_progress, minOf(state.done + 1, state.runs), state.runs, state.tokens, TOKENS)

    private fun plan(): BenchmarkPlan {
        val range = app.ramRange
        val some = if (range == null) emptyList() else (1..3).map { range.least + (range.most - range.least) * it / 4 }
        return BenchmarkPlan(prompt.text.toString(), "typed in the app", TOKENS, some + null)
    }

    private fun shareLast() {
        val file = app.benchmark?.state?.points?.lastOrNull()?.file ?: return
        val send = Intent(Intent.ACTION_SEND)
            .setType(RunProvider.TYPE)
            .putExtra(Intent.EXTRA_STREAM, RunProvider.uriOf(file))
            .addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
        view.context.startActivity(Intent.createChooser(send, app.getString(R.string.share)))
    }

    private companion object {
        const val TOKENS = 64
    }
}
