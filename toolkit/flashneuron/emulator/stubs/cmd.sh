#!/system/bin/sh
# There is no Android framework in an emulated phone.
echo "cmd: no Android framework runs in an emulated phone" >&2
exit 20
