package io.flashneuron.app

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.util.AttributeSet
import android.view.View
import io.flashneuron.core.BenchmarkPoint
import io.flashneuron.core.inMebibytes

/** Tokens/s of each run by its RAM; "all" is at the right. Its description says the same in words. */
class PlotView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private var points: List<BenchmarkPoint> = emptyList()
    private val unit = resources.displayMetrics.density
    private val ink = paint(R.color.plot_ink)
    private val mark = paint(R.color.plot_mark)

    fun show(points: List<BenchmarkPoint>) {
        this.points = points
        contentDescription = points.joinToString("; ") { point ->
            context.getString(R.string.benchmark_point, labelOf(point), point.tokensPerSecond)
        }.ifEmpty { context.getString(R.string.plot_empty) }
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        val left = 16 * unit
        val bottom = height - 32 * unit
        canvas.drawLine(left, bottom, width - left, bottom, ink)
        canvas.drawText(context.getString(R.string.plot_title), left, 20 * unit, ink)
        val most = points.maxOfOrNull { it.tokensPerSecond } ?: return
        val columns = points.map { it.ramBytes ?: Long.MAX_VALUE }.distinct().sorted()
        val step = (width - 2 * left) / columns.size
        for (point in points) {
            val x = left + step * (columns.indexOf(point.ramBytes ?: Long.MAX_VALUE) + 0.5f)
            val y = bottom - (bottom - 48 * unit) * (point.tokensPerSecond / most).toFloat()
            canvas.drawCircle(x, y, 6 * unit, mark)
            canvas.drawText("%.1f".format(point.tokensPerSecond), x + 8 * unit, y, ink)
            canvas.drawText(labelOf(point), x - 24 * unit, height - 12 * unit, ink)
        }
    }

    private fun labelOf(point: BenchmarkPoint) =
        point.ramBytes?.let { context.getString(R.string.ram_some, it.inMebibytes()) } ?: "all"

    private fun paint(color: Int) = Paint(Paint.ANTI_ALIAS_FLAG).also {
        it.color = resources.getColor(color, context.theme)
        it.textSize = 12 * unit
        it.strokeWidth = unit
    }
}
