package io.flashneuron.app

import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.Button
import android.widget.EditText
import android.widget.ScrollView
import android.widget.SeekBar
import android.widget.TextView
import io.flashneuron.core.ChatState
import io.flashneuron.core.LiveStats
import io.flashneuron.core.Phase
import io.flashneuron.core.inMebibytes

/** A conversation with the chosen package, with what it costs while it runs. */
class ChatScreen(private val app: FlashneuronApp, inflater: LayoutInflater, parent: ViewGroup) : Screen {
    override val view: View = inflater.inflate(R.layout.screen_chat, parent, false)
    private val turns: TextView = view.findViewById(R.id.turns)
    private val message: TextView = view.findViewById(R.id.message)
    private val live: TextView = view.findViewById(R.id.live)
    private val roles: TextView = view.findViewById(R.id.roles)
    private val ram: TextView = view.findViewById(R.id.ram)
    private val prompt: EditText = view.findViewById(R.id.prompt)
    private val send: Button = view.findViewById(R.id.send)
    private val slider = RamSlider(view.findViewById(R.id.ram_slider)) { app.chat?.setRam(it) }

    init {
        send.setOnClickListener {
            val chat = app.chat ?: return@setOnClickListener
            if (chat.state.busy) {
                chat.stop()
            } else {
                chat.send(prompt.text.toString())
                prompt.setText("")
            }
        }
    }

    override fun render() {
        val chat = app.chat
        val state = chat?.state ?: ChatState(message = app.getString(R.string.choose_package))
        turns.text = state.turns.joinToString("\n\n") { "${app.getString(R.string.you, it.prompt)}\n${it.answer}" }
        message.text = when (state.phase) {
            Phase.LOADING -> app.getString(R.string.loading)
            Phase.READING -> app.getString(R.string.reading)
            else -> state.message.orEmpty()
        }
        live.text = liveText(state.stats)
        roles.text = if (state.roles.isEmpty()) "" else app.getString(R.string.roles, rolesText(state))
        send.text = app.getString(if (state.busy) R.string.stop else R.string.send)
        send.isEnabled = chat != null
        slider.render(app.ramRange, state.ramBytes, enabled = chat != null && !state.busy)
        ram.text = app.ramRange?.let { range ->
            val some = state.ramBytes?.let { app.getString(R.string.ram_some, it.inMebibytes()) }
            val less = state.ramNow?.let { app.getString(R.string.ram_less, it.inMebibytes()) }
            app.getString(R.string.ram, less ?: some ?: app.getString(R.string.ram_all, range.most.inMebibytes()))
        }.orEmpty()
        if (state.busy) view.findViewById<ScrollView>(R.id.scroll).apply { post { fullScroll(View.FOCUS_DOWN) } }
    }

    private fun liveText(stats: LiveStats): String {
        val speed = stats.tokensPerSecond ?: return ""
        return app.getString(R.string.live, speed, percent(stats.hitRate ?: 1.0), percent(stats.stallShare ?: 0.0))
    }

    private fun rolesText(state: ChatState) =
        state.roles.filter { it.bytes > 0 }
            .joinToString { app.getString(R.string.role, it.role, it.bytes.inMebibytes()) }

    private fun percent(share: Double) = Math.round(share * 100)
}

/** A slider over budgets: from the least to the most by steps of 16 MiB; at its end, null: all resident. */
private class RamSlider(private val bar: SeekBar, private val choose: (Long?) -> Unit) {
    private var range: RamRange? = null

    init {
        bar.setOnSeekBarChangeListener(
            object : SeekBar.OnSeekBarChangeListener {
                override fun onProgressChanged(seekBar: SeekBar, progress: Int, fromUser: Boolean) {
                    val known = range ?: return
                    if (fromUser) choose(if (progress == bar.max) null else known.least + progress * STEP)
                }

                override fun onStartTrackingTouch(seekBar: SeekBar) = Unit

                override fun onStopTrackingTouch(seekBar: SeekBar) = Unit
            },
        )
    }

    fun render(known: RamRange?, chosen: Long?, enabled: Boolean) {
        range = known
        bar.isEnabled = enabled && known != null
        if (known == null) return
        bar.max = ((known.most - known.least + STEP - 1) / STEP).toInt()
        bar.progress = chosen?.let { ((it - known.least) / STEP).toInt() } ?: bar.max
    }

    private companion object {
        const val STEP = 16L shl 20
    }
}
