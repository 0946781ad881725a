#!/system/bin/sh
# setprop NAME VALUE: until the phone stops.
case " $(cat /vendor/events/denied 2>/dev/null) " in *" setprop "*)
	echo "/system/bin/sh: setprop: can't execute: Permission denied" >&2; exit 126 ;;
esac
case $1 in
'' | */* | ro.*) echo "setprop: cannot set '$1'" >&2; exit 1 ;;
esac
[ $# = 2 ] || { echo "usage: setprop NAME VALUE" >&2; exit 1; }
printf %s "$2" >"/dev/properties/$1"
