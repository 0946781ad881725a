package io.flashneuron.core

import org.json.JSONException
import org.json.JSONObject
import java.io.File
import java.io.IOException

private const val FORMAT = "flashneuron-package"
private const val FORMAT_VERSION = 1 // FORMAT.md: a reader refuses what is above its own
private const val MOST_MANIFEST_BYTES = 4L shl 20

/** What is wrong with a package, in one line for people. */
class PackageException(message: String) : Exception(message)

data class PackageFile(val path: String, val bytes: Long, val sha256: String, val role: String)

/** A package folder's manifest, as far as the app needs it; the runtime reads and checks the rest. */
class ModelPackage private constructor(val folder: File, manifest: JSONObject, val manifestBytes: ByteArray) {
    val name: String = manifest.getString("name")
    val createdBy: String = manifest.optString("created_by")
    val synthetic: Boolean = manifest.optBoolean("synthetic")
    val files: List<PackageFile> = manifest.getJSONArray("files").let { list ->
        List(list.length()) { index ->
            val file = list.getJSONObject(index)
            PackageFile(
                file.getString("path"), file.getLong("bytes"), file.getString("sha256"), file.getString("role"),
            )
        }
    }
    val bytes: Long = files.sumOf { it.bytes }
    val maxContext: Int
    val promptPrefix: IntArray
    val hasChatTemplate: Boolean = manifest.has("chat")

    init {
        val model = manifest.getJSONObject("model")
        maxContext = model.getInt("max_context")
        val prefix = model.getJSONArray("prompt_prefix_ids")
        promptPrefix = IntArray(prefix.length()) { prefix.getInt(it) }
    }

    val tokenizerPath: String
        get() = File(folder, files.firstOrNull { it.role == "tokenizer" }?.path ?: "tokenizer.json").path

    /** The runtime's key for this package, and what else is given. */
    fun settings(more: Map<String, String> = emptyMap()): Map<String, String> = mapOf("package" to folder.path) + more

    /** The first file that is not there in its length; null if all are. */
    fun firstDefect(): String? = files.firstNotNullOfOrNull { file ->
        val place = File(folder, file.path)
        when {
            !place.isFile -> "${file.path} is missing; copy the package again"
            place.length() != file.bytes ->
                "${file.path} has ${place.length()} of ${file.bytes} bytes; copy the package again"
            else -> null
        }
    }

    companion object {
        /** Throws [PackageException]. */
        fun open(folder: File): ModelPackage {
            val file = File(folder, "manifest.json")
            if (!file.isFile) throw PackageException("no manifest.json, which is written last: copy the package again")
            if (file.length() > MOST_MANIFEST_BYTES) throw PackageException("manifest.json is too long to be one")
            try {
                val bytes = file.readBytes()
                val manifest = JSONObject(String(bytes, Charsets.UTF_8))
                if (manifest.optString("format") != FORMAT) throw PackageException("manifest.json is not of a package")
                val version = manifest.getInt("format_version")
                if (version > FORMAT_VERSION) {
                    throw PackageException(
                        "the package has format version $version, this app reads $FORMAT_VERSION: install a newer app, " +
                            "or export the model again with the flashneuron that this app is of",
                    )
                }
                return ModelPackage(folder, manifest, bytes)
            } catch (defect: JSONException) {
                throw PackageException("manifest.json is damaged (${defect.message}); copy the package again")
            } catch (defect: IOException) {
                throw PackageException("manifest.json cannot be read (${defect.message})")
            }
        }
    }
}
