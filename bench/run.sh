#!/bin/sh
# Measures sqld with pgbench: `make bench`, or bench/run.sh [SQLD].
#
# A server is started on a free port with its data in a temporary directory. Each workload runs for SECONDS_EACH (5) with
# each number of clients of CLIENTS ("1 8 64"), over the extended protocol with prepared statements. The table shows
# transactions per second and the mean latency in milliseconds. Nothing here passes or fails.
#
#     point       reads one row of 100 000 by its key
#     range       reads 100 rows
#     insert      one row, one transaction
#     update      one row of 100 000 by its key, one transaction
#     mixed       nine point reads and one update
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sqld=${1:-$here/../build/bin/sqld}
seconds=${SECONDS_EACH:-5}
clients_list=${CLIENTS:-1 8 64}

pgbench=$(command -v pgbench || echo /usr/lib/postgresql/15/bin/pgbench)
work=$(mktemp -d)
server=
finish() {
    [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$sqld" --data-dir "$work/data" --listen "127.0.0.1:$port" 2>"$work/log" &
server=$!
export PGHOST=127.0.0.1 PGPORT="$port" PGDATABASE=main PGUSER=bench PGSSLMODE=disable PSQLRC=/dev/null
tries=0
until psql -qAtc 'SELECT 1' >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
        cat "$work/log" >&2
        exit 1
    fi
    sleep 0.1
done

psql -qAt -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, filler TEXT NOT NULL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO account SELECT i, 0, printf('%080d', i) FROM n;
CREATE TABLE history(id INTEGER PRIMARY KEY, account INTEGER NOT NULL, at TEXT DEFAULT CURRENT_TIMESTAMP);
SQL

key='\set id random(1, 100000)'
printf '%s\n' "$key" 'SELECT balance, filler FROM account WHERE id = :id;' >"$work/point"
printf '%s\n' "$key" 'SELECT id, balance, filler FROM account WHERE id >= :id ORDER BY id LIMIT 100;' >"$work/range"
printf '%s\n' "$key" 'INSERT INTO history(account) VALUES (:id);' >"$work/insert"
printf '%s\n' "$key" 'UPDATE account SET balance = balance + 1 WHERE id = :id;' >"$work/update"

measure() {
    name=$1
    shift
    for clients in $clients_list; do
        threads=$((clients < 2 ? 1 : 2))
        if "$pgbench" -n -M prepared -c "$clients" -j "$threads" -T "$seconds" "$@" >"$work/out" 2>"$work/err"; then
            awk -v name="$name" -v clients="$clients" '
                /^latency average/ { latency = $4 }
                /^tps/ { tps = $3 }
                END { printf "%-8s %8d %12.0f %12.3f\n", name, clients, tps, latency }' "$work/out"
        else
            printf '%-8s %8d failed: %s\n' "$name" "$clients" "$(head -n 1 "$work/err")"
        fi
    done
}

printf '%-8s %8s %12s %12s\n' workload clients tps latency_ms
measure point -f "$work/point"
measure range -f "$work/range"
measure insert -f "$work/insert"
measure update -f "$work/update"
measure mixed -f "$work/point@9" -f "$work/update@1"
