#!/bin/bash
# Checks the model of rendezvous and choice with spin: each net exhaustively, which has to find no error; properties over time; and
# mutants of the model, each broken in one way, in which an error has to be found. Usage: run.sh [WORD]: only what has WORD in its name.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=${MODEL_BUILD:-$here/../../build/model}
depth=5000 memory=3000 # steps, MB

nets="meeting timed mixed again barrier moved two_die starter chain poisoned" # the dear ones first

# What to check: NAME NET exhaustive, or NAME NET ltl FORMULA, or NAME NET mutant.
list() {
    local net
    for net in $nets; do echo "$net $net exhaustive"; done
    echo "everybody-ends poisoned ltl everybody_ends"
    echo "both-are-told poisoned ltl both_are_told"
    while read -r mutant net; do echo "$mutant $net mutant"; done <<END
TAKEN_FIRST chain
FREED_FIRST chain
LEFT_UNLOCKED chain
NO_ROLLBACK chain
NOTED_LATE chain
OWNED_LATE chain
UNCHECKED mixed
OFFERED_LATER mixed
SLEEPERS_LATE mixed
NOT_TOLD mixed
DECIDED_STAYS again
POPPED_FIRST again
WITHDRAWN_UNLOCKED timed
MET_BELIEVED barrier
MET_ONE_BY_ONE barrier
NOT_UNDONE barrier
ENROLMENT_ENDS_FIRST meeting
QUEUED_ANYWHERE moved
SLICE_LOOKS_ONLY two_die
POISONED_BEFORE_POKING poisoned
POKED_UNLOCKED poisoned
CHILDREN_POKED_LATE starter
END
}

# One of them: says a line, and leaves what spin said in $work/NAME/log.
check() {
    local name=$1 net=$2 kind=$3 formula=${4:-} log=$work/$1/log states seconds
    local flags=(-DMEMLIM=$memory -DCOLLAPSE -DNOFAIR) options=(-m$depth) define=() optimize=-Og
    rm -rf "${work:?}/$name" && mkdir -p "$work/$name" && cd "$work/$name" || return 1
    case $kind in
    exhaustive) flags+=(-DSAFETY -DNOCLAIM) ;;
    ltl) options+=(-a -N "$formula") ;;
    mutant) flags+=(-DSAFETY -DNOCLAIM) define=("-DMUTANT_$name") optimize=-O0 ;;
    esac
    { spin "${define[@]}" -a "$here/$net.pml" && gcc $optimize -w "${flags[@]}" -o pan pan.c && ./pan "${options[@]}"; } >log 2>&1
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' log)
    seconds=$(sed -n 's/^pan: elapsed time \(.*\) seconds/\1/p' log)
    if [ -z "$states" ]; then
        echo "FAILED $name: no count of states ($log)"
        return 1
    fi
    if [ "$kind" = mutant ]; then
        # a queue or a journal that overflows is a fault of the net, not what the mutant is about
        if grep -qE "errors: [1-9]" log && ls ./*.trail >/dev/null 2>&1 && ! grep -qE "^pan:1: .*(length\[|count<)" log; then
            echo "ok     mutant $name is refuted in $net: $(sed -n 's/^pan:1: \([a-z ]*\).*/\1/p' log | head -1), ${states} states, ${seconds} s"
            return 0
        fi
        echo "FAILED mutant $name: no error was found in $net ($log)"
        return 1
    fi
    if ! grep -q "errors: 0$" log || ls ./*.trail >/dev/null 2>&1; then
        echo "FAILED $name: $(sed -n 's/^pan:1: //p' log | cut -c1-150 | head -1) ($log; spin -t -p $net.pml shows the way there)"
        return 1
    fi
    if grep -qE "max search depth too small|Search not completed|out of memory|aborted" log; then
        echo "FAILED $name: the search was not complete ($log)"
        return 1
    fi
    echo "ok     $name${formula:+ ($net)}: all ${states} states, depth $(sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' log), ${seconds} s"
}

# Steps of the protocol that no net ever comes to: they would not be checked. Deaths at a step are not told of: at some a third would have to die.
unused() {
    local logs=() net
    for net in $nets; do logs+=("$work/$net/log"); done
    awk -v nets="${#logs[@]}" '
        FNR == 1 { inside = 0 }
        /^unreached in/ { inside = /proctype party/ }
        inside && match($0, /:[0-9]+, state [0-9]+, /) {
            what = " " substr($0, RSTART + 1, RLENGTH - 3) ": " substr($0, RSTART + RLENGTH)
            if (what !~ /dead = /) count[what]++
        }
        END {
            for (what in count) if (count[what] == nets) { print "FAILED no net comes to line" what; found = 1 }
            exit !found
        }' "${logs[@]}"
}

if [ "${1:-}" = --check ]; then
    shift
    check "$@"
    exit
fi

mkdir -p "$work" || exit 1
chosen=$(list | grep -F -- "${1:-}") || { echo "run.sh: nothing is called $1" >&2; exit 1; }
jobs=$(nproc 2>/dev/null || echo 1)
[ "$jobs" -le 4 ] || jobs=4
xargs -P "$jobs" -L 1 "$0" --check <<<"$chosen" | tee "$work/results"
wanted=$(wc -l <<<"$chosen") good=$(grep -c "^ok " "$work/results")
total=$(sed -n 's/^ok .*: all \([0-9]*\) states.*/\1/p' "$work/results" | awk '{ n += $1 } END { printf "%d", n }')
dead=0
if [ -z "${1:-}" ] && [ "$good" = "$wanted" ]; then unused && dead=1; fi
echo "model: $good of $wanted hold; $total states"
[ "$good" = "$wanted" ] && [ "$dead" = 0 ]
