#!/system/bin/sh
# getprop [NAME [DEFAULT]]: the profile's properties, and over them what setprop has set.
case " $(cat /vendor/events/denied 2>/dev/null) " in *" getprop "*)
	echo "/system/bin/sh: getprop: can't execute: Permission denied" >&2; exit 126 ;;
esac
show() { for file in /vendor/properties/* /dev/properties/*; do [ -f "$file" ] && echo "${file##*/}"; done | sort -u; }
value() { cat "/dev/properties/$1" 2>/dev/null || cat "/vendor/properties/$1" 2>/dev/null; }
case $# in
0) show | while read -r name; do echo "[$name]: [$(value "$name")]"; done ;;
*) found=$(value "$1"); echo "${found:-$2}" ;;
esac
