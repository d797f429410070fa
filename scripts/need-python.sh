#!/bin/sh
# Checks that PYTHON and a C compiler can build and run interproc, and says what to do when not: need-python.sh PYTHON.
set -u
python=$1
complain() { printf '%s\n' "interproc: $*" >&2; exit 1; }

"$python" -c '' 2>/dev/null ||
    complain "'$python' does not run. Give another: make PYTHON=/path/to/python3.11 ..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    complain "'$python' is $("$python" --version 2>&1); Python 3.11 or later is needed. Give another: make PYTHON=..."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    complain "'$python' cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"
"$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    complain "the C headers of '$python' (Python.h) are missing. On Debian or Ubuntu: apt-get install python3-dev"
command -v "${CC:-gcc}" >/dev/null 2>&1 ||
    complain "no C compiler: '${CC:-gcc}' is not on PATH. On Debian or Ubuntu: apt-get install gcc libc6-dev;" \
        "or name another: make CC=clang ..."
printf '#include <stdatomic.h>\n#include <sys/mman.h>\nint main(void) { return 0; }\n' |
    "${CC:-gcc}" -std=gnu11 -x c -o /dev/null - ||
    complain "'${CC:-gcc}' cannot build a C11 program. On Debian or Ubuntu: apt-get install gcc libc6-dev"
