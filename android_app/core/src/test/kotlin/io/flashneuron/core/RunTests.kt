package io.flashneuron.core

import org.junit.internal.TextListener
import org.junit.runner.Description
import org.junit.runner.JUnitCore
import org.junit.runner.notification.Failure
import org.junit.runner.notification.RunListener
import java.io.File
import kotlin.system.exitProcess

/** RunTests FILE CLASS…: runs tests where there is no Gradle, and writes FILE as JUnit's XML. */
fun main(arguments: Array<String>) {
    val outcomes = Outcomes()
    val core = JUnitCore()
    core.addListener(TextListener(System.out))
    core.addListener(outcomes)
    val result = core.run(*arguments.drop(1).map { Class.forName(it) }.toTypedArray())
    File(arguments[0]).writeText(outcomes.xml())
    exitProcess(if (result.wasSuccessful()) 0 else 1)
}

private class Outcomes : RunListener() {
    private val cases = linkedMapOf<Description, String>() // with what stands within each <testcase>

    override fun testStarted(description: Description) {
        cases[description] = ""
    }

    override fun testFailure(failure: Failure) {
        cases[failure.description] = "<failure/>"
    }

    override fun testAssumptionFailure(failure: Failure) {
        cases[failure.description] = "<skipped/>"
    }

    override fun testIgnored(description: Description) {
        cases[description] = "<skipped/>"
    }

    fun xml() = cases.entries.joinToString("\n", "<testsuite name=\"app\">\n", "\n</testsuite>\n") { (test, inside) ->
        """<testcase classname="${escaped(test.className)}" name="${escaped(test.methodName.orEmpty())}">$inside</testcase>"""
    }

    private fun escaped(text: String) =
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;")
}
