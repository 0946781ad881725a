#!/system/bin/sh
# dumpsys battery|thermalservice, in the form that Android 13 and 14 print: a full battery, on USB, nothing throttled,
# unless /vendor/events says otherwise.
case " $(cat /vendor/events/denied 2>/dev/null) " in *" dumpsys "*)
	echo "/system/bin/sh: dumpsys: can't execute: Permission denied" >&2; exit 126 ;;
esac
case $1 in
battery) cat <<END
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Dock powered: false
  status: 5
  health: 2
  present: true
  level: $(cat /vendor/events/battery 2>/dev/null || echo 100)
  scale: 100
  voltage: 4400
  temperature: 250
  technology: Li-ion
END
	;;
thermalservice) cat <<END
IsStatusOverride: false
ThermalEventListeners:
	callbacks: 0
Thermal Status: $(cat /vendor/events/thermal 2>/dev/null || echo 0)
Cached temperatures:
HAL Ready: true
Current temperatures from HAL:
	Temperature{mValue=25.0, mType=2, mName=battery, mStatus=0}
Current cooling devices from HAL:
END
	;;
*) echo "Can't find service: $1" ;;
esac
