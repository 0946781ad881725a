package io.flashneuron.app

import android.app.Application
import android.content.ComponentCallbacks2
import android.os.Handler
import android.os.Looper
import io.flashneuron.core.BenchmarkSession
import io.flashneuron.core.Catalogue
import io.flashneuron.core.CatalogueEntry
import io.flashneuron.core.ChatSession
import io.flashneuron.core.EngineException
import io.flashneuron.core.ModelPackage
import io.flashneuron.core.NativeRuntime
import io.flashneuron.core.explained
import java.io.File
import java.util.concurrent.Executors

/** Least and most RAM that a package can be given, in bytes; the most holds all of it. */
data class RamRange(val least: Long, val most: Long)

/**
 * What outlives a screen: the packages, the chosen one and its two sessions. All work is done on one thread, since a
 * phone's memory holds one engine; [listener], the screen that is shown, is told on the main thread.
 */
class FlashneuronApp : Application() {
    private val worker = Executors.newSingleThreadExecutor()
    private val main = Handler(Looper.getMainLooper())
    val packagesFolder by lazy { File(filesDir, "packages").also { it.mkdirs() } }
    val runsFolder by lazy { File(filesDir, "runs").also { it.mkdirs() } }
    private val catalogue by lazy { Catalogue(packagesFolder, File(filesDir, "verified")) }
    private var runtime: NativeRuntime? = null

    var listener: (() -> Unit)? = null
    var libraryDefect: String? = null
        private set
    var entries: List<CatalogueEntry> = emptyList()
        private set
    var chosen: ModelPackage? = null
        private set
    var chat: ChatSession? = null
        private set
    var benchmark: BenchmarkSession? = null
        private set
    var ramRange: RamRange? = null
        private set

    /** Folder that is being verified, and bytes that are done. */
    var verifying: Pair<File, Long>? = null
        private set
    val busy: Boolean get() = chat?.state?.busy == true || benchmark?.state?.running == true

    override fun onCreate() {
        super.onCreate()
        try {
            runtime = NativeRuntime.load()
        } catch (missing: UnsatisfiedLinkError) {
            libraryDefect = missing.message
        }
        refresh()
    }

    fun refresh() = work({ catalogue.entries() }) { entries = it }

    fun verify(entry: CatalogueEntry) {
        val found = entry.found ?: return
        val verified = {
            catalogue.verify(found) { done ->
                onMain { verifying = entry.folder to done }
                true
            }
        }
        work(verified) { now ->
            verifying = null
            entries = entries.map { if (it.folder == now.folder) now else it }
        }
    }

    /** Ends what the package before it was doing. */
    fun choose(found: ModelPackage) {
        val runtime = runtime ?: return
        benchmark?.stop()
        chat?.close()
        chosen = found
        ramRange = null
        chat = ChatSession(runtime, found, worker) { onMain(::follow) }
        benchmark = BenchmarkSession(runtime, found, DeviceConditions(this), runsFolder, worker) { onMain(::follow) }
        work({ rangeOf(runtime, found) }) { ramRange = it }
    }

    private fun rangeOf(runtime: NativeRuntime, found: ModelPackage): RamRange? = try {
        val budget = runtime.budget(found.settings())
        RamRange(budget.getLong("minimum_bytes"), budget.getLong("all_resident_bytes"))
    } catch (refused: EngineException) {
        val why = explained(refused)
        onMain { entries = entries.map { if (it.folder == found.folder) it.copy(defect = why) else it } }
        null
    }

    /** A run is seen by the system as long as it goes on, whatever becomes of the screen. */
    private fun follow() {
        if (busy) RunService.start(this) else RunService.stop()
    }

    /** The system asks for memory: an answer goes on with less, an engine that waits for the next question is let go. */
    override fun onTrimMemory(level: Int) {
        super.onTrimMemory(level)
        if (level < ComponentCallbacks2.TRIM_MEMORY_BACKGROUND) return
        if (chat?.state?.busy == true) chat?.trim() else if (!busy) chat?.release()
    }

    private fun onMain(action: () -> Unit) {
        main.post {
            action()
            listener?.invoke()
        }
    }

    private fun <T> work(action: () -> T, take: (T) -> Unit) = worker.execute {
        val result = action()
        onMain { take(result) }
    }
}
