#!/bin/bash
# Runs core test programs one after the other: run.sh FLAVOUR LIMIT PROGRAM...; LIMIT is seconds a program.
# Writes FLAVOUR's counts, "PASSED FAILED", beside the programs, and exits with 1 when one failed or none was given.
set -u
export LC_ALL=C
flavour=$1 limit=$2
shift 2
passed=0 failed=0

# addr2line comes with gcc; llvm-symbolizer is a package more. A report must fail the run even when it is a forked
# child's whose end the test takes for granted, so each program's output is searched for one.
export ASAN_OPTIONS=allow_addr2line=1:detect_stack_use_after_return=1:${ASAN_OPTIONS:-}
export UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
export TSAN_OPTIONS=allow_addr2line=1:second_deadlock_stack=1:${TSAN_OPTIONS:-}
reports='(Address|Thread|Leak|UndefinedBehavior)Sanitizer|runtime error: '

# TSan of older clangs cannot place its shadow memory when addresses are much randomised.
fixed=()
if [ "$flavour" = tsan ] && setarch -R true 2>/dev/null; then fixed=(setarch -R); fi

for program; do
    log=$program.log
    start=$EPOCHREALTIME
    timeout --kill-after=5 "$limit" "${fixed[@]}" "$program" >"$log" 2>&1 </dev/null
    status=$?
    took=$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $start }")
    verdict=
    if [ $status = 124 ] || [ $status = 137 ]; then verdict="no end after $limit s, or killed"
    elif [ $status != 0 ]; then verdict="status $status"
    elif grep -qE "$reports" "$log"; then verdict="a sanitizer's report"
    fi
    if [ -z "$verdict" ]; then
        passed=$((passed + 1))
        echo "  ok    $flavour/${program##*/} ($took s)"
    else
        failed=$((failed + 1))
        echo "  FAIL  $flavour/${program##*/} ($took s): $verdict"
        tail -n 200 "$log" | sed 's/^/        /'
    fi
done

echo "$passed $failed" >"$(dirname "${1:-.}")/counts"
echo "core tests, $flavour: $passed programs ok, $failed not"
[ $failed = 0 ] && [ $passed -gt 0 ]
