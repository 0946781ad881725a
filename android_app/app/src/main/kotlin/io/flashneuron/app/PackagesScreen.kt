package io.flashneuron.app

import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.Button
import android.widget.TextView
import io.flashneuron.core.CatalogueEntry
import io.flashneuron.core.inMebibytes

/** What is there, how big, and whether it was verified. */
class PackagesScreen(
    private val app: FlashneuronApp,
    private val inflater: LayoutInflater,
    parent: ViewGroup,
) : Screen {
    override val view: View = inflater.inflate(R.layout.screen_packages, parent, false)
    private val notice: TextView = view.findViewById(R.id.notice)
    private val list: ViewGroup = view.findViewById(R.id.packages)

    override fun render() {
        val missing = app.libraryDefect
        notice.text = when {
            missing != null -> app.getString(R.string.no_library, missing)
            app.entries.isEmpty() -> app.getString(R.string.no_packages, app.packagesFolder.path)
            else -> ""
        }
        // Rows are kept, so that TalkBack's focus stays where it is.
        while (list.childCount > app.entries.size) list.removeViewAt(list.childCount - 1)
        app.entries.forEachIndexed { index, entry ->
            val row = list.getChildAt(index) ?: inflater.inflate(R.layout.item_package, list, false).also(list::addView)
            fill(row, entry)
        }
    }

    private fun fill(row: View, entry: CatalogueEntry) {
        val found = entry.found
        row.findViewById<TextView>(R.id.name).text = entry.name
        row.findViewById<TextView>(R.id.facts).text = factsOf(entry)
        row.findViewById<Button>(R.id.use).apply {
            val used = found != null && app.chosen?.folder == found.folder
            text = app.getString(if (used) R.string.used else R.string.use)
            contentDescription = "$text: ${entry.name}"
            isEnabled = found != null && entry.defect == null && !used
            setOnClickListener { if (found != null) app.choose(found) }
        }
        row.findViewById<Button>(R.id.verify).apply {
            contentDescription = "${app.getString(R.string.verify)}: ${entry.name}"
            isEnabled = found != null && !entry.verified && app.verifying == null
            setOnClickListener { app.verify(entry) }
        }
    }

    private fun factsOf(entry: CatalogueEntry): String {
        val bytes = entry.found?.bytes ?: return entry.defect.orEmpty()
        val verifying = app.verifying?.takeIf { it.first == entry.folder }
        val state = when {
            verifying != null ->
                app.getString(R.string.verifying, verifying.second.inMebibytes(), bytes.inMebibytes())
            entry.defect != null -> entry.defect
            else -> app.getString(if (entry.verified) R.string.verified else R.string.not_verified)
        }
        return app.getString(R.string.package_facts, bytes.inMebibytes(), state)
    }
}
