#!/system/bin/sh
# There is no Android framework in an emulated phone.
case " $(cat /vendor/events/denied 2>/dev/null) " in *" cmd "*)
	echo "/system/bin/sh: cmd: can't execute: Permission denied" >&2; exit 126 ;;
esac
echo "cmd: no Android framework runs in an emulated phone" >&2
exit 20
