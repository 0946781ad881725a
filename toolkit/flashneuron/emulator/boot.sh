#!/bin/sh
# boot.sh ROOT DATA VENDOR PORT HOSTNAME UID [PROCS...]: the phone, from within namespaces of its own (mount, PID, IPC, UTS, net).
#
# Joins the cgroups whose cgroup.procs files are PROCS, so that every process of the phone is under its limits; mounts
# the phone's file systems, which vanish with the mount namespace; then runs adbd as UID, the shell user 2000 or 0, and ends
# when adbd ends. The root is read-only; /data and the tmpfs on /dev and /tmp can be written to.
set -eu
root=$1 data=$2 vendor=$3 port=$4 hostname=$5 uid=$6
shift 6
for procs; do echo 0 >"$procs"; done

mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro,nosuid,nodev "$root"
mount --bind "$data" "$root/data"
mount -o remount,bind,nosuid,nodev "$root/data"
mount --bind "$vendor" "$root/vendor"
mount -o remount,bind,ro,nosuid,nodev "$root/vendor"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$vendor/meminfo" "$root/proc/meminfo"
mount --bind /sys "$root/sys" 2>/dev/null || mount --rbind /sys "$root/sys" # all of it, in a user namespace
mount -o remount,bind,ro,nosuid,nodev,noexec "$root/sys"
mount -t tmpfs -o mode=1777,nosuid,nodev,size=16m tmpfs "$root/tmp"
mount -t tmpfs -o mode=755,nosuid,size=16m tmpfs "$root/dev"
mkdir -m 1777 "$root/dev/shm" "$root/dev/properties"
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for node in null zero full random urandom tty; do
	touch "$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
hostname "$hostname"
cd /

# adbd runs through the root's own loader, because its private libraries lie off the loader's path. This shell stays, as
# PID 1, to reap what commands leave behind.
library=$(echo "$root"/usr/lib/*-linux-gnu)
library=${library#"$root"}
loader=$(echo "$root$library"/ld-linux-*.so.*)
user="--userspec=$uid:$uid --groups=$uid"
[ "$uid" = 0 ] && user= # of a user namespace, which has no other
env -i PATH=/system/bin:/usr/bin HOME=/data/local/tmp TMPDIR=/data/local/tmp ANDROID_DATA=/data ANDROID_ROOT=/system \
	ADBD_PORT="$port" /usr/sbin/chroot $user "$root" \
	"${loader#"$root"}" --library-path "$library:$library/android" /usr/lib/android-sdk/platform-tools/adbd &
wait $!
