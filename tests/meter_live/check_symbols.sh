#!/bin/sh
# check_symbols.sh NM LIBRARY HEADER: the library exports what the header declares, no less and no more.
set -u
nm=$1 library=$2 header=$3
exported=$("$nm" -D --defined-only "$library" | awk '{ print $NF }' | sed 's/@.*//' | sort -u)
declared=$(grep -o 'JOULET_API[^;(]*[ *]joulet_[a-z0-9_]*(' "$header" | sed 's/($//; s/.*[ *]//' | sort -u)
[ -n "$declared" ] || {
    echo "no declaration was found in $header"
    exit 1
}
status=0
for name in $exported; do
    echo "$declared" | grep -qx "$name" || {
        echo "$name is exported, but $header does not declare it"
        status=1
    }
done
for name in $declared; do
    echo "$exported" | grep -qx "$name" || {
        echo "$name is declared in $header, but the library does not export it"
        status=1
    }
done
exit $status
