#!/bin/bash
# Runs `make test` on each supported Python that this machine has, in an environment of its own: test-all.sh.
# A name counts as had when it really runs: pyenv's shims exist for versions that are not switched on.
set -u
cd "$(dirname "$0")/.." || exit 1
make=${MAKE:-make}
tested=() failed=()

find_python() { # the interpreter of a version: on PATH, or one of pyenv's
    local version=$1 candidate
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python; do
        if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ]; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return 0
        fi
    done
    return 1
}

for version in 3.11 3.12 3.13; do
    if python=$(find_python "$version"); then
        echo "== Python $version: $python"
        tested+=("$version")
        "$make" --no-print-directory test PYTHON="$python" VENV=".venv-$version" || failed+=("$version")
    else
        echo "== Python $version: not on this machine"
    fi
done
echo "tested on: ${tested[*]:-none}; failed on: ${failed[*]:-none}"
[ ${#tested[@]} -gt 0 ] && [ ${#failed[@]} = 0 ]
