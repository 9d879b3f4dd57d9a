#!/usr/bin/env bash
# What an outage of the upstream costs: Breakwater, nginx and Varnish, the latter two tuned to serve
# stale as well as they can, each before a simulator of its own that breaks on request.
#
# 200 warm keys that are fresh for 2 s and usable for a day; in every phase all of them are past
# their fresh time when the load starts. Requests are good when they have status 200 and hold a
# result. The proxies ask the simulator with signed addresses made at the start. Everything listens
# on 127.0.0.1 only; what was started is ended by its process id.
#
#   OUTAGE_SECONDS=30 OUTAGE_CONNECTIONS=64 OUTAGE_ROUNDS=1
#   OUTAGE_SERVERS="gateway nginx varnish varnish-probe"   the last one also probes its upstream
#   OUTAGE_PHASES="normal 503 resets throttles hang slow"   normal must be among them
#   OUTAGE_ENV="NAME=value NAME=value"   more settings for the gateway
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/servers.sh
. bench/servers.sh

readonly seconds=${OUTAGE_SECONDS:-30} connections=${OUTAGE_CONNECTIONS:-64} rounds=${OUTAGE_ROUNDS:-1}
read -ra names <<<"${OUTAGE_SERVERS:-gateway nginx varnish varnish-probe}"
read -ra phases <<<"${OUTAGE_PHASES:-normal 503 resets throttles hang slow}"
readonly keys=200 fresh_seconds=2
# How long the upstream may take before each of them gives up on it.
readonly patience_seconds=2
# The account that the simulator knows.
readonly app_key=500001 app_secret=breakwater-demonstration-secret

declare -A faults=(
  [normal]=''
  [503]='{"fault": "status", "status": 503}'
  [resets]='{"fault": "reset"}'
  [throttles]='{"fault": "throttle", "seconds": 1}'
  [hang]='{"fault": "hang"}'
  [slow]='{"fault": "slow_body", "ms": 1000}'
)

# signed_path NUMBER: a call that the simulator answers for two hours from now. One search with
# another price bound for each key: all answers have the same size.
signed_path() {
  local name value text='' query=''
  while IFS='=' read -r name value; do
    text+=$name$value
    query+="$name=$value&"
  done <<LIST
app_key=$app_key
format=json
keywords=black
max_sale_price=$((1000000 + $1))
method=aliexpress.affiliate.product.query
page_no=1
page_size=20
sign_method=md5
target_currency=USD
timestamp=$(date +%s)000
v=2.0
LIST
  printf '/sync?%ssign=%s\n' "$query" \
    "$(printf %s "$app_secret$text$app_secret" | md5sum | cut -d ' ' -f 1 | tr a-f A-F)"
}

start_simulator() { start "$1-upstream" "$PWD/$built/breakwater" simulate --listen 127.0.0.1:0; }

# A short rest of the breaker: every phase meets a probe, and the recovery after it is soon.
start_gateway() {
  mkdir "$folder/gateway"
  # OUTAGE_ENV is split at white space on purpose: NAME=value NAME=value.
  # shellcheck disable=SC2086
  start gateway env -i PATH="$PATH" API_PORT=0 HTTP_WORKERS="$workers" LOG_LEVEL=error \
    DATABASE_URL="sqlite://$folder/gateway/gateway.db" RATE_LIMIT_ENABLED=false \
    ALIEXPRESS_GATEWAY_URL="http://$1/sync" ALIEXPRESS_APP_KEY="$app_key" \
    ALIEXPRESS_APP_SECRET="$app_secret" ALIEXPRESS_TRACKING_ID=breakwater \
    UPSTREAM_RATE_PER_SECOND=10000 UPSTREAM_BURST=10000 UPSTREAM_DAILY_BUDGET=0 \
    UPSTREAM_TIMEOUT_MS="${patience_seconds}000" BREAKER_OPEN_SECONDS=5 \
    CACHE_TTL_SEARCH="$fresh_seconds" CACHE_STALE_SECONDS=86400 ${OUTAGE_ENV:-} \
    "$PWD/$built/breakwater" serve
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
error_log /dev/null crit;
events { worker_connections 4096; }
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
  proxy_cache_path $folder/nginx/cache levels=1:2 keys_zone=outage:10m max_size=100m inactive=1d;
  upstream simulator { server $2; keepalive 64; }
  server {
    listen 127.0.0.1:$1;
    location / {
      proxy_pass http://simulator;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_connect_timeout ${patience_seconds}s;
      proxy_send_timeout ${patience_seconds}s;
      proxy_read_timeout ${patience_seconds}s;
      proxy_cache outage;
      proxy_cache_valid 200 ${fresh_seconds}s;
      proxy_cache_lock on;
      proxy_cache_background_update on;
      proxy_cache_use_stale error timeout invalid_header updating http_500 http_502 http_503 http_504 http_429;
    }
  }
}
CONF
  start nginx nginx -p "$folder/nginx" -e "$folder/nginx/error.log" -c "$folder/nginx/nginx.conf"
}

# start_varnish NAME PORT ORIGIN [PROBED_PATH]
start_varnish() {
  local probe=
  if [ -n "${4:-}" ]; then
    probe=".probe = { .url = \"$4\"; .interval = 1s; .timeout = ${patience_seconds}s;
      .window = 3; .threshold = 2; .initial = 2; }"
  fi
  mkdir "$folder/$1"
  cat >"$folder/$1.vcl" <<VCL
vcl 4.1;
backend default {
  .host = "${3%:*}"; .port = "${3#*:}";
  .connect_timeout = ${patience_seconds}s;
  .first_byte_timeout = ${patience_seconds}s;
  .between_bytes_timeout = ${patience_seconds}s;
  $probe
}
sub vcl_backend_response {
  if (bereq.is_bgfetch && (beresp.status >= 500 || beresp.status == 429)) { return (abandon); }
  # A body that trickles in must not take the place of a whole one before its end.
  if (bereq.is_bgfetch) { set beresp.do_stream = false; }
  set beresp.ttl = ${fresh_seconds}s;
  set beresp.grace = 1d;
  set beresp.keep = 1d;
}
sub vcl_backend_error {
  if (bereq.is_bgfetch) { return (abandon); }
}
VCL
  start "$1" varnishd -F -j none -n "$folder/$1" -a "127.0.0.1:$2" -T none -f "$folder/$1.vcl" \
    -s malloc,64m -p thread_pools="$workers" -p thread_pool_min=100 -p thread_pool_max=1000
}

# other_port: a free one that no server here was given before it listens.
declare -A given
other_port() {
  port=$(free_port)
  while [ -n "${given[$port]:-}" ]; do port=$(free_port); done
  given[$port]=1
}

declare -A addresses upstreams paths wanted
start_server() {
  start_simulator "$1"
  upstreams[$1]=$(address_of "$1-upstream")
  paths[$1]=$folder/signed
  wanted[$1]='"resp_code":200'
  case "$1" in
    gateway)
      start_gateway "${upstreams[gateway]}"
      addresses[gateway]=$(address_of gateway)
      paths[gateway]=$folder/searches
      wanted[gateway]='"success":true'
      return
      ;;
    nginx) other_port && start_nginx "$port" "${upstreams[nginx]}" ;;
    varnish) other_port && start_varnish varnish "$port" "${upstreams[varnish]}" ;;
    varnish-probe)
      other_port
      start_varnish "$1" "$port" "${upstreams[$1]}" "$(head -n 1 "$folder/signed")"
      ;;
    *) fail "no server is called $1" ;;
  esac
  addresses[$1]="127.0.0.1:$port"
  wait_for "$1" "http://${addresses[$1]}$(head -n 1 "${paths[$1]}")"
}

# measure NAME PHASE ROUND: one line "round name phase figures…" into the results.
measure() {
  local figures
  figures=$(taskset -c "$load_cores" "$built/examples/outage_load" "${addresses[$1]}" \
    "${upstreams[$1]}" "${faults[$2]}" "${paths[$1]}" "${wanted[$1]}" "$seconds" "$connections") ||
    fail "$1, $2: no figures"
  printf '%s %s %s %s\n' "$3" "$1" "$2" "$figures" >>"$folder/results"
}

say "building"
cargo build --quiet --release --locked --bin breakwater --example outage_load

for number in $(seq "$keys"); do
  signed_path "$number" >>"$folder/signed"
  echo "/api/products/search?keywords=black&page_size=20&max_sale_price=$((10000 + number))" \
    >>"$folder/searches"
done
for name in "${names[@]}"; do start_server "$name"; done

say "load average before: $(cut -d ' ' -f 1 /proc/loadavg)"
say "measuring: $rounds rounds, ${seconds} s a phase, $connections connections, $keys keys," \
  "$workers workers, servers on cores $server_cores, load on cores $load_cores"
for round in $(seq "$rounds"); do
  for phase in "${phases[@]}"; do
    [ -n "${faults[$phase]+known}" ] || fail "no phase is called $phase"
    for place in "${!names[@]}"; do
      measure "${names[$(((place + round - 1) % ${#names[@]}))]}" "$phase" "$round"
    done
  done
done

say "$(nginx -v 2>&1 | sed 's,.*/,nginx ,'), $(varnishd -V 2>&1 | sed -n 's/.*(\(varnish-[0-9.]*\).*/\1/p')"
awk -f bench/median.awk -f bench/outage.awk "$folder/results"
