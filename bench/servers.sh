# What the benches have in common: starting servers on free ports of the loopback address, finding
# them, and ending them by their process ids. To be sourced; the caller's folder is the project's.

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
readonly workers=2
readonly built=${CARGO_TARGET_DIR:-target}/release

say() { printf '%s\n' "$*"; }
fail() {
  printf 'bench: %s\n' "$*" >&2
  exit 1
}

folder=$(mktemp -d)
pids=()
declare -A pid_of
finish() {
  local pid
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

# With four cores and more the load has its own; with fewer, all share.
cores=$(nproc)
if [ "$cores" -ge 4 ]; then
  readonly server_cores=0,1 load_cores=2,3
else
  readonly server_cores=0-$((cores - 1)) load_cores=0-$((cores - 1))
fi

# start NAME COMMAND…: in the background on the servers' cores; its output goes to a file.
start() {
  local name=$1
  shift
  taskset -c "$server_cores" "$@" >"$folder/$name.out" 2>"$folder/$name.err" </dev/null &
  pids+=("$!")
  pid_of[$name]=$!
}

# address_of NAME: waits for the address that a server prints.
address_of() {
  local try address
  for try in $(seq 200); do
    address=$(sed -n 's,.*http://\(127\.0\.0\.1:[0-9]*\).*,\1,p' "$folder/$1.out" | head -n 1)
    if [ -n "$address" ]; then
      echo "$address"
      return
    fi
    sleep 0.05
  done
  cat "$folder/$1.err" >&2
  fail "$1 did not print its address"
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

wait_for() {
  local try
  for try in $(seq 200); do
    curl -sf -o /dev/null "$2" && return
    sleep 0.05
  done
  cat "$folder/$1.err" >&2
  fail "$1 does not answer at $2"
}
