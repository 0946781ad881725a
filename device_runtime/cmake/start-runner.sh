#!/bin/sh
# Starts the runner by the loader of the C library that travels with it. An emulated phone, whose processor is another,
# has a program at /vendor/bin/arm64 that runs such code.
folder=${0%/*}/lib
emulator=/vendor/bin/arm64
[ -x $emulator ] || emulator=
exec $emulator "$folder/ld-linux-aarch64.so.1" --library-path "$folder" "$folder/flashneuron-runner" "$@"
