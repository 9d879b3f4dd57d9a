#!/usr/bin/env bash
# The hit path with everything on, compared in one run with a bare actix-web handler, nginx's
# proxy_cache and Varnish that return the same bytes. `make bench` installs what this needs.
#
# Every server has 2 workers and the same cores; rounds are interleaved and each starts with another
# server, so that a noisy neighbour hits all of them. Everything listens on 127.0.0.1 only; files are
# made in a temporary folder; what was started is ended by its process id.
#
#   BENCH_ROUNDS=5 BENCH_SECONDS=4 BENCH_CONNECTIONS=32
#   BENCH_ENV="NAME=value NAME=value"   a second gateway with these settings, for comparing two
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/servers.sh
. bench/servers.sh

readonly rounds=${BENCH_ROUNDS:-5} seconds=${BENCH_SECONDS:-4} connections=${BENCH_CONNECTIONS:-32}
readonly query='/api/products/search?keywords=black&page_size=20'

# cpu_of NAME: processor time that a server and its children have used, in ticks of 10 ms. Unlike
# requests a second it does not depend on what else the machine does.
cpu_of() {
  local pid stat
  for pid in "${pid_of[$1]}" $(pgrep -P "${pid_of[$1]}"); do
    read -r stat <"/proc/$pid/stat"
    # The name in parentheses may hold spaces.
    echo "${stat##*) }"
  done | awk '{ticks += $12 + $13} END {print ticks}'
}

start_gateway() {
  local name=$1
  shift
  mkdir "$folder/$name"
  start "$name" env -i PATH="$PATH" API_PORT=0 HTTP_WORKERS="$workers" LOG_LEVEL=warning \
    DATABASE_URL="sqlite://$folder/$name/gateway.db" RATE_LIMIT_ENABLED=true \
    RATE_LIMIT_SEARCH_PER_MINUTE=100000000 RATE_LIMIT_SEARCH_BURST=100000000 \
    ABUSE_DETECTION=shadow "$@" \
    "$built/breakwater" serve
}

start_nginx() {
  local user=
  # Only root may change the user, and only then the workers would become another one.
  if [ "$(id -u)" = 0 ]; then user='user root;'; fi
  mkdir -p "$folder/nginx/tmp"
  cat >"$folder/nginx/nginx.conf" <<CONF
$user
daemon off;
worker_processes $workers;
pid $folder/nginx/pid;
error_log $folder/nginx/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=1000;
  keepalive_requests 1000000000;
  client_body_temp_path $folder/nginx/tmp/body;
  proxy_temp_path $folder/nginx/tmp/proxy;
  fastcgi_temp_path $folder/nginx/tmp/fastcgi;
  uwsgi_temp_path $folder/nginx/tmp/uwsgi;
  scgi_temp_path $folder/nginx/tmp/scgi;
  proxy_cache_path $folder/nginx/cache levels=1:2 keys_zone=bench:10m max_size=100m;
  server {
    listen 127.0.0.1:$1;
    location / {
      proxy_pass http://$2;
      proxy_cache bench;
      proxy_cache_valid 200 1h;
      proxy_cache_use_stale error timeout updating;
      add_header X-Cache-Status \$upstream_cache_status;
    }
  }
}
CONF
  start nginx nginx -p "$folder/nginx" -e "$folder/nginx/error.log" -c "$folder/nginx/nginx.conf"
}

start_varnish() {
  mkdir "$folder/varnish"
  cat >"$folder/varnish.vcl" <<VCL
vcl 4.1;
backend default { .host = "${2%:*}"; .port = "${2#*:}"; }
VCL
  start varnish varnishd -F -j none -n "$folder/varnish" -a "127.0.0.1:$1" -T none \
    -f "$folder/varnish.vcl" -s malloc,64m \
    -p thread_pools="$workers" -p thread_pool_min=50 -p thread_pool_max=500
}

# measure NAME URL ROUND: one line "round name requests/s p99 nanoseconds-of-CPU-per-request" into the results.
measure() {
  local out="$folder/wrk.out" rate p99 requests before used
  before=$(cpu_of "$1")
  taskset -c "$load_cores" wrk -t2 -c"$connections" -d"${seconds}s" --latency "$2" >"$out"
  if grep -E 'Non-2xx|Socket errors' "$out" >&2; then fail "$1 failed requests"; fi
  rate=$(awk '/^Requests\/sec:/ {print $2}' "$out")
  p99=$(awk '$1 == "99%" {print $2}' "$out")
  used=$(($(cpu_of "$1") - before))
  requests=$(awk '/ requests in / {print $1}' "$out")
  printf '%s %s %s %s %s\n' "$3" "$1" "$rate" "$p99" "$((used * 10000000 / requests))" \
    >>"$folder/results"
}

header() { curl -s -o /dev/null -D - "$1" | tr -d '\r' | sed -n "s/^$2: //Ip"; }

# must_hit WHEN: every cache answers from its cache, or nothing here means anything.
must_hit() {
  local name
  for name in "${names[@]}"; do
    case "$name" in
      gateway*) header "${urls[$name]}" cache-status | grep -q 'hit' ;;
      nginx) header "${urls[nginx]}" x-cache-status | grep -qx HIT ;;
      # A hit names two transactions: this one, and the one that stored the object.
      varnish) header "${urls[varnish]}" x-varnish | grep -qE '^[0-9]+ [0-9]+$' ;;
    esac || fail "$name does not answer from its cache ($1)"
  done
}

say "building"
cargo build --quiet --release --locked --bin breakwater --example bare

declare -A urls
start_gateway gateway
names=(bare gateway)
urls[gateway]="http://$(address_of gateway)$query"
if [ -n "${BENCH_ENV:-}" ]; then
  # Split at white space on purpose: NAME=value NAME=value.
  # shellcheck disable=SC2086
  start_gateway gateway-b $BENCH_ENV
  names+=(gateway-b)
  urls[gateway-b]="http://$(address_of gateway-b)$query"
fi
names+=(nginx varnish)

wait_for gateway "${urls[gateway]}"
curl -sf -o "$folder/body.json" "${urls[gateway]}"
products=$(grep -o '"product_id"' "$folder/body.json" | wc -l)
[ "$products" = 20 ] || fail "the body holds $products products instead of 20"

start bare "$built/examples/bare" "$folder/body.json" "$workers"
origin=$(address_of bare)
urls[bare]="http://$origin$query"
nginx_port=$(free_port)
start_nginx "$nginx_port" "$origin"
varnish_port=$(free_port)
while [ "$varnish_port" = "$nginx_port" ]; do varnish_port=$(free_port); done
start_varnish "$varnish_port" "$origin"
urls[nginx]="http://127.0.0.1:$nginx_port/origin$query"
urls[varnish]="http://127.0.0.1:$varnish_port/origin$query"

for name in "${names[@]}"; do
  wait_for "$name" "${urls[$name]}"
  taskset -c "$load_cores" wrk -t2 -c"$connections" -d1s "${urls[$name]}" >/dev/null
done
must_hit "before the first round"
asked_before=$(curl -sf "http://$origin/asked")

say "load average before: $(cut -d ' ' -f 1 /proc/loadavg); on a busy machine only CPU/request means much"
say "measuring: $rounds rounds, ${seconds} s each, $connections connections, $workers workers," \
  "servers on cores $server_cores, load on cores $load_cores"
for round in $(seq "$rounds"); do
  for place in "${!names[@]}"; do
    name=${names[$(((place + round) % ${#names[@]}))]}
    measure "$name" "${urls[$name]}" "$round"
  done
done

must_hit "after the last round"
asked_after=$(curl -sf "http://$origin/asked")
[ "$asked_after" = "$asked_before" ] || fail "the proxies asked the origin while measured"

say "body: $(wc -c <"$folder/body.json") bytes, 20 products;" \
  "$(nginx -v 2>&1 | sed 's,.*/,nginx ,'), $(varnishd -V 2>&1 | sed -n 's/.*(\(varnish-[0-9.]*\).*/\1/p')"
[ -z "${BENCH_ENV:-}" ] || say "gateway-b: $BENCH_ENV"
awk -f bench/median.awk -f bench/report.awk "$folder/results"
say "gateway's resident memory: $(awk '/^VmRSS:/ {printf "%.1f MiB", $2 / 1024}' "/proc/${pid_of[gateway]}/status")"
