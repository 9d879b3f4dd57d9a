#!/usr/bin/env bash
# What one hit in memory costs in instructions, counted by callgrind: the gateway with everything on
# beside a bare actix-web handler that returns the same 16 kB. Instructions do not depend on what else
# the machine does. `make bench-instructions` installs what this needs.
#
# One worker, one connection that is kept, and so many hits of one search. Counting begins after a
# warm-up. Copying and zeroing memory is told apart: callgrind counts it by the byte.
#
#   BENCH_HITS=2000      hits that are counted
#   BENCH_GATEWAY=FILE   another binary of the gateway, to compare with
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/servers.sh
. bench/servers.sh

readonly hits=${BENCH_HITS:-2000}
binaries=$(realpath -m "$built")
readonly binaries
readonly gateway=${BENCH_GATEWAY:-$binaries/breakwater}
readonly query='/api/products/search?keywords=black&page_size=20'

readonly settings=(API_PORT=0 HTTP_WORKERS=1 LOG_LEVEL=warning
  DATABASE_URL="sqlite://$folder/gateway.db" RATE_LIMIT_ENABLED=true
  RATE_LIMIT_SEARCH_PER_MINUTE=100000000 RATE_LIMIT_SEARCH_BURST=100000000
  ABUSE_DETECTION=shadow)

# ask URL TIMES: one connection, and no header fields but Host.
ask() {
  # The number after # makes one command ask again and again; it is not sent.
  curl -sf -H 'Accept:' -H 'User-Agent:' -o /dev/null "$1#[1-$2]"
}

# count NAME COMMAND…: starts a server under callgrind, sends the hits, and reports.
count() {
  local name=$1 url
  shift
  start "$name" env -i PATH="$PATH" "${settings[@]}" \
    valgrind --tool=callgrind --instr-atstart=no --compress-strings=no --compress-pos=no \
    --callgrind-out-file="$folder/$name.callgrind" "$@"
  # Under valgrind everything takes its time.
  for _ in $(seq 600); do
    grep -q http:// "$folder/$name.out" && break
    sleep 0.1
  done
  url="http://$(address_of "$name")$query"
  wait_for "$name" "$url"
  ask "$url" 200
  callgrind_control -i on "${pid_of[$name]}" >/dev/null
  ask "$url" "$hits"
  callgrind_control -i off "${pid_of[$name]}" >/dev/null
  [ "$name" = bare ] || curl -sf -o "$folder/body.json" "$url"
  kill -TERM "${pid_of[$name]}"
  wait "${pid_of[$name]}" || true
  awk -v name="$name" -v hits="$hits" -f bench/instructions.awk \
    "$folder/$name.callgrind" | tee -a "$folder/counted"
}

say "building"
cargo build --quiet --release --locked --bin breakwater --example bare
count gateway "$gateway" serve
count bare "$binaries/examples/bare" "$folder/body.json" 1

# For `make count`.
mkdir -p target/bench
sed -n -e "1,/^bare/s/^ *of the connection's dispatcher: [0-9]*, \([0-9]*\) .*/instructions \1/p" \
  -e 's/^ *own files that a hit passes: \([0-9]*\).*/files \1/p' "$folder/counted" >target/bench/instructions
