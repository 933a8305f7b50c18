#!/usr/bin/env bash
# Ends the jobs and daemons that up.sh started, and removes their folder. Nothing to do is no error.
# usage: scripts/slurm/down.sh [FOLDER]      (default: $FR_SLURM, else /tmp/fr-slurm)
set -euo pipefail
folder=${1:-${FR_SLURM:-/tmp/fr-slurm}}
export SLURM_CONF="$folder/slurm.conf"
[ -d "$folder" ] || { echo "no SLURM in $folder"; exit 0; }
[ -e "$SLURM_CONF" ] || [ -e "$folder/munge" ] || [ -z "$(ls -A "$folder")" ] || { echo "$folder is none of up.sh's folders; left alone" >&2; exit 1; }

running() {  # the number of a daemon's process, where it is still that daemon
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] &&
    [ "$(awk '{print $3}' "/proc/$pid/stat" 2>/dev/null)" != Z ] && echo "$pid"
}

if running "$folder/slurmctld.pid" slurmctld >/dev/null; then
  timeout 10 scancel --signal=KILL --full --user="$(id -un)" >/dev/null 2>&1 || true
  timeout 10 scancel --user="$(id -un)" >/dev/null 2>&1 || true
  for _ in $(seq 30); do
    [ -n "$(timeout 5 squeue --noheader 2>/dev/null || true)" ] || break
    sleep 0.5
  done
fi
for daemon in slurmd slurmctld munged; do
  file="$folder/$daemon.pid"
  [ "$daemon" = munged ] && file="$folder/munge/munged.pid"
  if pid=$(running "$file" "$daemon"); then
    kill "$pid"
    for _ in $(seq 40); do
      running "$file" "$daemon" >/dev/null || break
      sleep 0.25
    done
    if pid=$(running "$file" "$daemon"); then kill -KILL "$pid"; fi
  fi
done
rm -rf "$folder"
echo "SLURM in $folder is down"
