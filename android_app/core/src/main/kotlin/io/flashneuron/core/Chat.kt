package io.flashneuron.core

import org.json.JSONObject

enum class Phase { IDLE, LOADING, READING, ANSWERING, FAILED }

data class Turn(val prompt: String, val answer: String = "")

/** Bytes of DRAM that one role has of the budget. */
data class RoleBytes(val role: String, val bytes: Long)

/** Of the answer so far, or of the last one. */
data class LiveStats(
    val tokens: Int = 0,
    val promptTokens: Int = 0,
    val decodeUs: Long = 0,
    val stallUs: Long = 0,
    val hits: Long = 0,
    val selected: Long = 0,
) {
    val tokensPerSecond: Double? get() = if (decodeUs > 0) decodedTokens * 1e6 / decodeUs else null

    /** Of the neurons that were needed, those found in DRAM; null before any was. */
    val hitRate: Double? get() = if (selected > 0) hits.toDouble() / selected else null

    /** Share of the time in which computing waited for flash. */
    val stallShare: Double? get() = if (decodeUs > 0) stallUs.toDouble() / decodeUs else null

    /** Tokens that a decode step computed: the first comes out of the prefill. */
    private val decodedTokens: Int get() = maxOf(tokens - 1, 0)

    /** With the counters of one more `token` event. */
    fun plus(token: JSONObject): LiveStats {
        val decoded = tokens > 0
        return copy(
            tokens = tokens + 1,
            decodeUs = decodeUs + if (decoded) token.getLong("wall_us") else 0,
            stallUs = stallUs + if (decoded) token.getLong("stall_us") else 0,
            hits = hits + token.getLong("hits"),
            selected = selected + token.getLong("selected"),
        )
    }
}

/** All that the chat screen shows. Immutable: each event makes a new one. */
data class ChatState(
    val turns: List<Turn> = emptyList(),
    val phase: Phase = Phase.IDLE,
    val stats: LiveStats = LiveStats(),
    val roles: List<RoleBytes> = emptyList(), // of the engine that is loaded
    val ramBytes: Long? = null, // null: all resident
    val ramNow: Long? = null, // of this answer, less than that: the system asked for memory
    val message: String? = null, // one line: what went wrong and what to do, or a note
) {
    val busy: Boolean get() = phase == Phase.LOADING || phase == Phase.READING || phase == Phase.ANSWERING

    fun asked(prompt: String) =
        copy(turns = turns + Turn(prompt), phase = Phase.LOADING, stats = LiveStats(), message = null)

    fun ready(event: JSONObject) = copy(phase = Phase.READING, roles = rolesOf(event.getJSONObject("budget")), ramNow = null)

    fun on(event: JSONObject, text: String): ChatState = when (event.optString("event")) {
        "prefill" -> copy(phase = Phase.ANSWERING, stats = stats.copy(promptTokens = event.getInt("tokens")))
        "token" -> answered(text).copy(stats = stats.plus(event))
        "budget_change" -> copy(ramNow = event.getLong("ram_bytes"))
        else -> this
    }

    fun done(text: String, note: String?) = answered(text).copy(phase = Phase.IDLE, message = note)

    fun failed(why: String) = copy(phase = Phase.FAILED, message = why)

    private fun answered(text: String): ChatState {
        val last = turns.lastOrNull() ?: return this
        return copy(turns = turns.dropLast(1) + last.copy(answer = last.answer + text))
    }
}

/** `roles` of a `budget` event, or of what has its fields. */
fun rolesOf(budget: JSONObject): List<RoleBytes> {
    val roles = budget.getJSONArray("roles")
    return List(roles.length()) { index ->
        val role = roles.getJSONObject(index)
        RoleBytes(role.getString("role"), role.getLong("bytes"))
    }
}
