package io.flashneuron.core

import org.json.JSONArray
import org.json.JSONObject
import java.io.File
import java.time.Instant
import java.time.temporal.ChronoUnit

private const val SCHEMA_VERSION = "1.4" // of toolkit/flashneuron/profile/run_file.py

/** What the device is and how it fares, as `conditions` of a run: heat, battery, memory. */
fun interface Conditions {
    fun now(): JSONObject
}

/** The events of one generation, as they came. */
class Recording(val ready: JSONObject) {
    var prefill: JSONObject? = null
        private set
    val tokens = mutableListOf<JSONObject>()

    fun add(event: JSONObject) {
        when (event.optString("event")) {
            "prefill" -> prefill = event
            "token" -> tokens += event
        }
    }
}

data class Workload(val source: String, val prompt: IntArray, val maxNewTokens: Int)

/** A run as `flashneuron report` reads it: the runtime's events, and what they depend on. */
fun runJson(
    found: ModelPackage,
    version: String,
    started: Instant,
    repeat: Int,
    workload: Workload,
    asked: Map<String, String>,
    recording: Recording,
    result: JSONObject,
    before: JSONObject,
    after: JSONObject,
): JSONObject = JSONObject()
    .put("schema_version", SCHEMA_VERSION)
    .put("kind", "flashneuron-run")
    .put("started", started.truncatedTo(ChronoUnit.SECONDS).toString())
    .put("device", "app")
    .put("repeat", repeat)
    .put(
        "package",
        JSONObject()
            .put("name", found.name)
            .put("sha256", sha256(found.manifestBytes))
            .put("bytes", found.bytes)
            .put("synthetic", found.synthetic),
    )
    .put(
        "workload",
        JSONObject()
            .put("source", workload.source)
            .put("prompt_ids", JSONArray(workload.prompt.toList()))
            .put("max_new_tokens", workload.maxNewTokens),
    )
    .put("asked", JSONObject(asked))
    .put("ready", recording.ready)
    .put("prefill", recording.prefill)
    .put("tokens", JSONArray(recording.tokens))
    .put("result", result)
    .put("conditions_before", before)
    .put("conditions_after", after)
    .put("versions", JSONObject().put("flashneuron", version).put("package", found.createdBy))

/** Into `folder`, whole or not at all. */
fun writeRun(run: JSONObject, folder: File, name: String): File {
    folder.mkdirs()
    val part = File(folder, "$name.part")
    part.writeText(run.toString(1) + "\n")
    val file = File(folder, "$name.json")
    check(part.renameTo(file)) { "cannot rename $part" }
    return file
}
