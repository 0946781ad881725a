#!/system/bin/sh
# uname [OPTION…]: toybox's; the machine's name is the phone's where qemu stands for its processor.
said=$(/usr/bin/toybox uname "$@") || exit
here=$(/usr/bin/toybox uname -m)
phone=$(cat /vendor/machine 2>/dev/null) || phone=$here
echo "$said" | sed "s/$here/$phone/g"
