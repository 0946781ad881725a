package io.flashneuron.app

import android.Manifest
import android.app.Activity
import android.os.Build
import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.widget.Button

/** A screen of the app: its view, filled from the app's state whenever that changes. */
interface Screen {
    val view: View

    fun render()
}

/** Three screens by three buttons. Holds nothing that a rotation may lose but which one is shown. */
class MainActivity : Activity() {
    private val app get() = application as FlashneuronApp
    private lateinit var place: ViewGroup
    private lateinit var screen: Screen
    private var shown = R.id.tab_packages

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_main)
        place = findViewById(R.id.screen)
        for (tab in TABS) findViewById<Button>(tab).setOnClickListener { show(tab) }
        show(savedInstanceState?.getInt(SHOWN, shown) ?: shown)
        if (Build.VERSION.SDK_INT >= 33) requestPermissions(arrayOf(Manifest.permission.POST_NOTIFICATIONS), 0)
    }

    override fun onStart() {
        super.onStart()
        app.listener = { screen.render() }
        app.refresh()
    }

    override fun onStop() {
        app.listener = null
        super.onStop()
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putInt(SHOWN, shown)
    }

    private fun show(tab: Int) {
        shown = tab
        screen = when (tab) {
            R.id.tab_chat -> ChatScreen(app, layoutInflater, place)
            R.id.tab_benchmark -> BenchmarkScreen(app, layoutInflater, place)
            else -> PackagesScreen(app, layoutInflater, place)
        }
        place.removeAllViews()
        place.addView(screen.view)
        for (each in TABS) findViewById<Button>(each).isSelected = each == tab // which TalkBack says
        screen.render()
    }

    private companion object {
        val TABS = listOf(R.id.tab_packages, R.id.tab_chat, R.id.tab_benchmark)
        const val SHOWN = "shown"
    }
}
