#!/system/bin/sh
# There is no Android framework in an emulated phone.
case " $(cat /vendor/events/denied 2>/dev/null) " in *" am "*)
	echo "/system/bin/sh: am: can't execute: Permission denied" >&2; exit 126 ;;
esac
echo "am: no Android framework runs in an emulated phone" >&2
exit 20
