package io.flashneuron.app

import android.app.ActivityManager
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager
import io.flashneuron.core.Conditions
import org.json.JSONObject

/** Heat, battery and memory as toolkit/flashneuron/device/info.py names them. */
class DeviceConditions(private val context: Context) : Conditions {
    override fun now(): JSONObject {
        val power = context.getSystemService(PowerManager::class.java)
        val memory = ActivityManager.MemoryInfo()
        context.getSystemService(ActivityManager::class.java).getMemoryInfo(memory)
        return JSONObject()
            .put("device", "app")
            .put("kind", "android-app")
            .put("model", Build.MODEL)
            .put("soc", if (Build.VERSION.SDK_INT >= 31) Build.SOC_MODEL else Build.BOARD)
            .put("abi", Build.SUPPORTED_ABIS.first())
            .put("cores", Runtime.getRuntime().availableProcessors())
            .put("android", Build.VERSION.RELEASE)
            .put("kernel", System.getProperty("os.version"))
            .put("ram_total_bytes", memory.totalMem)
            .put("ram_available_bytes", memory.availMem)
            .put("storage_free_bytes", context.filesDir.freeSpace)
            .put("battery", battery())
            .put("battery_saver", power.isPowerSaveMode)
            .put("thermal", JSONObject().put("status", thermalName(power.currentThermalStatus)))
    }

    private fun battery(): JSONObject? {
        val state = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED)) ?: return null
        val level = state.getIntExtra(BatteryManager.EXTRA_LEVEL, 0)
        val scale = state.getIntExtra(BatteryManager.EXTRA_SCALE, 100)
        return JSONObject()
            .put("level_percent", level * 100 / maxOf(scale, 1))
            .put("temperature_c", state.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, 0) / 10.0)
            .put("powered", state.getIntExtra(BatteryManager.EXTRA_PLUGGED, 0) != 0)
    }

    private fun thermalName(status: Int): String = when (status) {
        PowerManager.THERMAL_STATUS_NONE -> "none"
        PowerManager.THERMAL_STATUS_LIGHT -> "light"
        PowerManager.THERMAL_STATUS_MODERATE -> "moderate"
        PowerManager.THERMAL_STATUS_SEVERE -> "severe"
        PowerManager.THERMAL_STATUS_CRITICAL -> "critical"
        PowerManager.THERMAL_STATUS_EMERGENCY -> "emergency"
        PowerManager.THERMAL_STATUS_SHUTDOWN -> "shutdown"
        else -> status.toString()
    }
}
