package io.flashneuron.core

import org.json.JSONObject
import org.junit.Assume.assumeTrue
import java.io.File
import java.util.concurrent.Executor

/** The real runtime and a real package: system properties say where they lie. */
object Fixture {
    val runtime: NativeRuntime by lazy {
        val library = System.getProperty("flashneuron.jni")
        assumeTrue("-Dflashneuron.jni=libflashneuron_jni.so is not set", library != null)
        NativeRuntime.load(library)
    }

    private val sample: File by lazy {
        val folder = System.getProperty("flashneuron.package")
        assumeTrue("-Dflashneuron.package=FOLDER is not set", folder != null)
        File(folder)
    }

    fun samplePackage(): ModelPackage = ModelPackage.open(sample)

    /** Once more, when the process has grown by all that a first generation loads, which budgets count. */
    fun warm(): ModelPackage = samplePackage().also { found ->
        runtime.open(found.settings()).use { it.generate(intArrayOf(2), mapOf("max_new_tokens" to "4")) { true } }
    }

    /** A copy of the package that a test may damage. */
    fun copyInto(folder: File): File = File(folder, "copy").also { sample.copyRecursively(it) }

    /** What `flashneuron run --format json` gave for [PROMPT]; null where it was not run. */
    val reference: JSONObject? by lazy {
        System.getProperty("flashneuron.reference")?.let { JSONObject(File(it).readText()) }
    }

    const val PROMPT = "As from her outmost works"
    const val TOKENS = 24

    /** Does all work at once, on the caller's thread. */
    val atOnce = Executor { it.run() }
}

/** Bytes over the least budget: it counts the process, which grows a little by every call. */
const val SLACK = 6L shl 20

/** The manifest of a folder, changed. */
fun changeManifest(folder: File, change: (JSONObject) -> Unit) {
    val file = File(folder, "manifest.json")
    file.writeText(JSONObject(file.readText()).also(change).toString())
}
