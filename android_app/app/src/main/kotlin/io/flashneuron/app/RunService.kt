package io.flashneuron.app

import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.PendingIntent
import android.app.Service
import android.content.Context
import android.content.Intent
import android.content.pm.ServiceInfo
import android.os.IBinder

/** In the foreground while a run goes on, so that the system keeps the process when the screen is gone. */
class RunService : Service() {
    override fun onBind(intent: Intent): IBinder? = null

    override fun onStartCommand(intent: Intent?, flags: Int, startId: Int): Int {
        startForeground(NOTICE, notice(), ServiceInfo.FOREGROUND_SERVICE_TYPE_DATA_SYNC)
        service = this
        if (!runs) stopSelf()
        return START_NOT_STICKY
    }

    override fun onDestroy() {
        service = null
        super.onDestroy()
    }

    /** Android 15 ends services of this kind after six hours; the run goes on while the process lives. */
    override fun onTimeout(startId: Int, fgsType: Int) = stopSelf()

    private fun notice(): Notification {
        val channel = NotificationChannel(CHANNEL, getString(R.string.notice_channel), NotificationManager.IMPORTANCE_LOW)
        getSystemService(NotificationManager::class.java).createNotificationChannel(channel)
        val open = PendingIntent.getActivity(
            this, 0, Intent(this, MainActivity::class.java), PendingIntent.FLAG_IMMUTABLE,
        )
        return Notification.Builder(this, CHANNEL)
            .setSmallIcon(R.drawable.ic_flashneuron)
            .setContentTitle(getString(R.string.notice_running))
            .setContentIntent(open)
            .setOngoing(true)
            .build()
    }

    companion object {
        private const val NOTICE = 1
        private const val CHANNEL = "runs"
        private var runs = false
        private var service: RunService? = null // from when it is in the foreground until it ends

        /** On the main thread, as stop(). A run begins while the app is on the screen, when a service may start. */
        fun start(context: Context) {
            if (runs) return
            runs = true
            context.startForegroundService(Intent(context, RunService::class.java))
        }

        /** A service that was asked for and has not come yet ends when it does: stopping it before is an error. */
        fun stop() {
            runs = false
            service?.stopSelf()
        }
    }
}
