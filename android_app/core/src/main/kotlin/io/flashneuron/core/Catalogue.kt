package io.flashneuron.core

import org.json.JSONException
import org.json.JSONObject
import java.io.File
import java.io.IOException
import java.security.MessageDigest

/** A folder of packages as the first screen lists it. */
data class CatalogueEntry(
    val folder: File,
    val found: ModelPackage?, // null: not even its manifest can be read
    val defect: String?, // one line; null: complete, as far as lengths tell
    val verified: Boolean, // every hash was right, and no file has changed since
) {
    val name: String get() = found?.name ?: folder.name
}

/**
 * The packages in the folders of [root], and which of them are verified: that is kept in [marks], a folder of its own, by
 * the manifest's hash and the latest change of a file.
 */
class Catalogue(private val root: File, private val marks: File) {
    fun entries(): List<CatalogueEntry> =
        root.listFiles { file -> file.isDirectory }.orEmpty().sortedBy { it.name }.map(::entry)

    fun entry(folder: File): CatalogueEntry = try {
        val found = ModelPackage.open(folder)
        val defect = found.firstDefect()
        CatalogueEntry(folder, found, defect, defect == null && isMarked(found))
    } catch (refused: PackageException) {
        CatalogueEntry(folder, null, refused.message, false)
    }

    /**
     * Reads and hashes every file. [progress] gets bytes so far; false gives up, and the entry stays unverified. Takes as
     * long as reading the package does.
     */
    fun verify(found: ModelPackage, progress: (Long) -> Boolean): CatalogueEntry {
        val mark = markOf(found)
        var done = 0L
        for (file in found.files) {
            val sha256 = try {
                hash(File(found.folder, file.path)) { read -> progress(done + read) } ?: return entry(found.folder)
            } catch (unreadable: IOException) {
                return defective(found, "${file.path} cannot be read (${unreadable.message})")
            }
            if (sha256 != file.sha256) return defective(found, "${file.path} is damaged; copy the package again")
            done += file.bytes
        }
        marks.mkdirs()
        markFile(found).writeText(mark.toString())
        return entry(found.folder)
    }

    private fun defective(found: ModelPackage, why: String): CatalogueEntry {
        markFile(found).delete()
        return CatalogueEntry(found.folder, found, why, false)
    }

    private fun markFile(found: ModelPackage) = File(marks, found.folder.name + ".json")

    private fun markOf(found: ModelPackage) = JSONObject()
        .put("manifest", sha256(found.manifestBytes))
        .put("changed_ms", found.files.maxOfOrNull { File(found.folder, it.path).lastModified() } ?: 0L)

    private fun isMarked(found: ModelPackage): Boolean = try {
        val mark = JSONObject(markFile(found).readText())
        val now = markOf(found)
        mark.optString("manifest") == now.getString("manifest") && mark.optLong("changed_ms") == now.getLong("changed_ms")
    } catch (absent: IOException) {
        false
    } catch (damaged: JSONException) {
        false
    }
}

/** Lower-case hexadecimal digits. */
fun sha256(bytes: ByteArray): String = hex(MessageDigest.getInstance("SHA-256").digest(bytes))

private fun hash(file: File, progress: (Long) -> Boolean): String? {
    val digest = MessageDigest.getInstance("SHA-256")
    val buffer = ByteArray(1 shl 20)
    var done = 0L
    file.inputStream().use { input ->
        while (true) {
            val read = input.read(buffer)
            if (read < 0) return hex(digest.digest())
            digest.update(buffer, 0, read)
            done += read
            if (!progress(done)) return null
        }
    }
}

private fun hex(bytes: ByteArray) = bytes.joinToString("") { "%02x".format(it) }
