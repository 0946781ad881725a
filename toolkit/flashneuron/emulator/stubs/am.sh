#!/system/bin/sh
# There is no Android framework in an emulated phone.
echo "am: no Android framework runs in an emulated phone" >&2
exit 20
