#!/usr/bin/env bash
# Brings SLURM up (up.sh), runs a command with SLURM_CONF set, takes SLURM down whatever came of it.
# usage: scripts/slurm/with.sh COMMAND ...     exits as the command does; says so and exits with 0 where SLURM can't be had,
#        with FR_SLURM_OPTIONAL=1 also where its daemons don't come up
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/fr-slurm.XXXXXX")
code=0
"$here/up.sh" "$folder" || code=$?
if [ "$code" = 3 ]; then
  rmdir "$folder"
  echo "SKIPPED, no SLURM here: $*"
  exit 0
fi
trap '"$here/down.sh" "$folder"' EXIT
if [ "$code" != 0 ] && [ -n "${FR_SLURM_OPTIONAL:-}" ]; then
  echo "SKIPPED, SLURM does not come up here: $*"
  exit 0
fi
[ "$code" = 0 ] || exit "$code"
SLURM_CONF="$folder/slurm.conf" "$@"
