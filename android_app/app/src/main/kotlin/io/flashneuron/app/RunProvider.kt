package io.flashneuron.app

import android.content.ContentProvider
import android.content.ContentValues
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException

/** Run files by name, read only, for an app that was granted one. */
class RunProvider : ContentProvider() {
    override fun onCreate() = true

    override fun getType(uri: Uri) = TYPE

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor {
        if (mode != "r") throw FileNotFoundException("run files are read only")
        return ParcelFileDescriptor.open(fileAt(uri), ParcelFileDescriptor.MODE_READ_ONLY)
    }

    override fun query(
        uri: Uri, projection: Array<String>?, selection: String?, selectionArgs: Array<String>?, sortOrder: String?,
    ): Cursor {
        val file = fileAt(uri)
        val known = mapOf<String, Any>(OpenableColumns.DISPLAY_NAME to file.name, OpenableColumns.SIZE to file.length())
        val columns = projection?.filter(known::containsKey) ?: known.keys
        return MatrixCursor(columns.toTypedArray(), 1).apply { addRow(columns.map(known::get).toTypedArray()) }
    }

    override fun insert(uri: Uri, values: ContentValues?): Uri? = null

    override fun delete(uri: Uri, selection: String?, selectionArgs: Array<String>?) = 0

    override fun update(uri: Uri, values: ContentValues?, selection: String?, selectionArgs: Array<String>?) = 0

    /** Only what lies in the folder of runs itself. */
    private fun fileAt(uri: Uri): File {
        val name = uri.lastPathSegment.orEmpty()
        val app = context?.applicationContext as? FlashneuronApp ?: throw FileNotFoundException(name)
        return app.runsFolder.listFiles().orEmpty().firstOrNull { it.name == name } ?: throw FileNotFoundException(name)
    }

    companion object {
        const val TYPE = "application/json"

        fun uriOf(file: File): Uri =
            Uri.Builder().scheme("content").authority("io.flashneuron.app.runs").appendPath(file.name).build()
    }
}
