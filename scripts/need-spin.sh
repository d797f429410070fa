#!/bin/bash
# Sees to it that there are spin, which checks core/model/, and gcc, which compiles what spin writes; installs spin with
# apt-get where that is possible. Errors, and what it does, go to stderr.
set -u

complain() { printf '%s\n' "interproc: $*" >&2; exit 1; }
works() { command -v spin >/dev/null 2>&1 && spin -V >/dev/null 2>&1; }

command -v gcc >/dev/null 2>&1 || complain "the model needs gcc. Install it (Debian: gcc and libc6-dev)."
works && exit 0

manual="Install spin 6.5 or later (Debian: spin; else from https://spinroot.com)."
command -v apt-get >/dev/null 2>&1 || complain "the model needs spin, and there is no apt-get to install it. $manual"
as_root=()
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || complain "the model needs spin; installing it takes root, or sudo without a password. $manual"
    as_root=(sudo -n)
fi

echo "interproc: installing spin for the model" >&2
exec 9>"${TMPDIR:-/tmp}/interproc-apt.lock" && flock 9 # one at a time: what another of these scripts runs is no error
"${as_root[@]}" apt-get update -qq >&2 || echo "interproc: apt-get update failed; trying with the lists there are" >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends spin >&2 ||
    complain "apt-get could not install spin. $manual"
works || complain "the spin that apt-get installed does not run. $manual"
