"""Scripts for a stand-in: wait for a phase of a smoke run; say what is left of one."""

_DATA = "/home/pi/.local/share/edge-buildkit"
GROUPS = "/sys/fs/cgroup/edge-smoke-*"
# Waits on the board itself, for two seconds at most; says whether it came.
AWAIT = """
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  if {condition}; then echo yes; exit 0; fi
  sleep 0.1
done
echo no
"""
RECEIVING = "pgrep -f 'pyz receive$' > /dev/null"
LOADING = "pgrep -x umoci > /dev/null"
RUNNING = f'[ -n "$(ls -d {GROUPS} 2> /dev/null)" ]'
AGENT = "'^python3 -I .*/agent-[0-9a-f]*[.]pyz'"
# All that a clean board has none of, a line each.
LOOK = f"""
crun list -q | sed 's/^/container /'
ls -d {GROUPS} 2> /dev/null | sed 's/^/cgroup /'
ls -A {_DATA}/runs 2> /dev/null | sed 's/^/run /'
ls -A {_DATA}/images 2> /dev/null | grep '^[.]' | sed 's/^/image /'
for folder in {_DATA}/images/crun-*; do
  case $folder in *.done | *'*') continue ;; esac
  [ -e $folder.done ] || echo image without its end: $folder
done
grep -e edge-smoke -e edge-buildkit /proc/mounts | sed 's/^/mount /'
for governor in /sys/devices/system/cpu/cpufreq/policy*/scaling_governor; do
  grep -v ondemand $governor | sed 's/^/governor /'
done
pgrep -a -f {AGENT} | sed 's/^/process /'
pgrep -a -x crun | sed 's/^/process /'
cd {_DATA}/blobs/sha256 2> /dev/null || exit 0
ls -A | grep -v -E '^[0-9a-f]{{64}}$' | sed 's/^/name of a blob /'
/usr/lib/edge-standin/busybox sha256sum * 2> /dev/null |
  while read -r sum name; do [ $sum = $name ] || echo blob $name is $sum; done
exit 0
"""
IMAGES = (
    f"cd {_DATA}/images 2> /dev/null && find . -path '*/rootfs/*' -type f -print0 | sort -z"
    " | xargs -0 /usr/lib/edge-standin/busybox sha256sum | sha256sum"
)
