#!/bin/sh
# `accepttrace check` as scripts use it: each condition both ways, and each exit status.
# usage: check.sh PORT WORKER CLIENT: pids of one of four workers on the port, and of their client.
# ACCEPTTRACE: the command. What is not as it should be is printed, and makes the status 1.
port=$1 worker=$2 client=$3 wrong=0

# status WANTED ARGUMENT...: run a check; its output is in $out. Once more where it says that the
# kernel skipped a program, as one that preempts itself may.
status() {
    wanted=$1
    shift
    for attempt in 1 2 3; do
        out=$(timeout 30 $ACCEPTTRACE check "$@" 2>&1)
        got=$?
        case $out in *'lost by the tracer'*) ;; *) break ;; esac
    done
    [ "$got" = "$wanted" ] || complain "status $got, not $wanted, of: check $*"
}

# every WORD NUMBER: so many lines begin with the word
every() {
    found=$(printf '%s\n' "$out" | grep -c "^$1 ")
    [ "$found" = "$2" ] || complain "$found lines, not $2, begin with $1"
}

complain() {
    printf '%s\n%s\n' "$1" "$out"
    wrong=1
}

# All is well.
status 0 -p "$port" -d 1 --fair --max-share 40% --max-ratio 1.5 --min-workers 4 \
    --max-wait p50=1s --max-wait max=20s --max-queue 65 --no-loss --expect reuseport \
    --max-open-ratio 2.5 --min-local 0.1% --pattern none
every ok 12
every PASSED: 1

# A worker stops: its queue fills, and the next clients are lost.
kill -STOP "$worker"
status 4 -p "$port" -d 1.5 --fair --max-share 5% --max-ratio 1 --min-workers 4 \
    --max-wait p50=0.001ms --max-wait max=200ms --max-queue 10 --no-loss --expect shared \
    --max-open-ratio 1 --min-local 100% --pattern lifo
every FAILED 12
every FAILED: 1

# One that fails ends it early, and outweighs one that cannot be judged.
status 4 -p "$port" -d 600 --early -o junit --no-loss --max-wait p99=1h --detail accepts
case $out in *'<skipped'*'<failure'*) ;; *) complain "not one skipped and one failed" ;; esac

# Nothing comes, or nobody is there.
kill -CONT "$worker"
kill -STOP "$client"
status 3 -p "$port" -d 0.5 --max-share 90% --expect reuseport
every ok 1
every "no verdict" 1
status 3 -p 1 -d 0.1

status 2 -p "$port" --max-share 0
out=$(sh -c "$ACCEPTTRACE check -p $port -d 0.1 > /dev/full" 2>&1)
[ $? = 1 ] || complain "a full disk is no failure"
out=$(capsh --drop=all -- -c "$ACCEPTTRACE check -p $port" 2>&1)
[ $? = 77 ] || complain "no privileges, and no 77"
exit "$wrong"
