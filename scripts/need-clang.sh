#!/bin/bash
# Prints the path of a clang that can build with its sanitizers; installs it with apt-get where that is possible.
# CLANG=/path/to/clang names one. Progress and errors go to stderr.
set -u

works() { # a clang that links and runs programs under both sanitizers, which need its runtime library
    local clang=$1 sanitizer program
    command -v "$clang" >/dev/null 2>&1 || return 1
    program=$(mktemp) || return 1
    for sanitizer in address,undefined thread; do
        echo 'int main(void) { return 0; }' | "$clang" -x c "-fsanitize=$sanitizer" -o "$program" - 2>/dev/null ||
            { rm -f "$program"; return 1; }
    done
    rm -f "$program"
}

find_clang() {
    local candidate
    for candidate in ${CLANG:-clang clang-2{1,0} clang-1{9,8,7,6,5,4}}; do
        if works "$candidate"; then command -v "$candidate"; return 0; fi
    done
    return 1
}

complain() { printf '%s\n' "interproc: $*" >&2; exit 1; }

find_clang && exit 0
[ -z "${CLANG:-}" ] || complain "CLANG=$CLANG cannot build with -fsanitize=address,undefined and -fsanitize=thread."

manual="Install clang and its sanitizer runtime (Debian 12: clang and libclang-rt-14-dev), or set CLANG=/path/to/clang."
command -v apt-get >/dev/null 2>&1 || complain "the sanitizers need clang, and there is no apt-get to install it. $manual"
as_root=()
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || complain "the sanitizers need clang; installing it takes root, or sudo without a password. $manual"
    as_root=(sudo -n)
fi
apt_install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

echo "interproc: installing clang for the sanitizers" >&2
exec 9>"${TMPDIR:-/tmp}/interproc-apt.lock" && flock 9 # one at a time: what another of these scripts runs is no error
"${as_root[@]}" apt-get update -qq >&2 || echo "interproc: apt-get update failed; trying with the lists there are" >&2
command -v clang >/dev/null 2>&1 || apt_install clang || complain "apt-get could not install clang. $manual"
if ! works clang; then # since LLVM 14 the runtime is a package of its own, which clang only recommends
    major=$(clang -dumpversion | cut -d. -f1)
    apt_install "libclang-rt-$major-dev" || complain "apt-get could not install libclang-rt-$major-dev. $manual"
fi
find_clang || complain "the clang that apt-get installed cannot build with its sanitizers. $manual"
