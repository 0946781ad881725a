package io.flashneuron.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File

class CatalogueTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val packages by lazy { temporary.newFolder("packages") }
    private val catalogue by lazy { Catalogue(packages, File(temporary.root, "marks")) }
    private val folder by lazy { Fixture.copyInto(packages) }

    private fun entry() = catalogue.entry(folder)

    @Test
    fun `a package is listed with its size, and verified when all was hashed`() {
        assertEquals(listOf(folder), catalogue.also { folder }.entries().map { it.folder })
        val found = entry().found!!
        assertEquals(found.files.sumOf { File(folder, it.path).length() }, found.bytes)
        assertNull(entry().defect)
        assertFalse(entry().verified)
        var told = 0L
        assertTrue(catalogue.verify(found) { told = it; true }.verified)
        assertEquals(found.bytes, told)
        assertTrue(entry().verified)
    }

    @Test
    fun `giving up leaves it unverified`() {
        assertFalse(catalogue.verify(entry().found!!) { false }.verified)
        assertFalse(entry().verified)
    }

    @Test
    fun `a file that changes ends that`() {
        val found = entry().found!!
        catalogue.verify(found) { true }
        val file = File(folder, "embedding.bin")
        file.writeBytes(file.readBytes().also { it[7] = (it[7] + 1).toByte() })
        file.setLastModified(System.currentTimeMillis() + 10_000)
        assertFalse(entry().verified)
        assertEquals("embedding.bin is damaged; copy the package again", catalogue.verify(found) { true }.defect)
    }

    @Test
    fun `what is missing, cut short, newer or no package is said in a line`() {
        val defects = mutableMapOf<String, String?>()
        File(folder, "embedding.bin").delete()
        defects["embedding.bin is missing"] = entry().defect
        changeManifest(folder) { it.put("format_version", 99) }
        defects["format version 99, this app reads 1"] = entry().defect
        changeManifest(folder) { it.put("format", "zip") }
        defects["not of a package"] = entry().defect
        File(folder, "manifest.json").writeText("{\"format\"")
        defects["manifest.json is damaged"] = entry().defect
        File(folder, "manifest.json").delete()
        defects["no manifest.json"] = entry().defect
        for ((says, defect) in defects) assertTrue("$defect", defect!!.contains(says))
        assertEquals("copy", entry().name)
    }
}
