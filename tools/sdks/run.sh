#!/usr/bin/env bash
# Calls the simulator with two public SDKs from their registries: python-aliexpress-api (PyPI) and ae_sdk
# (npm). BREAKWATER names the binary, PORT the port of the simulator. Nothing is left behind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=${BREAKWATER:-target/debug/breakwater}
export PORT=${PORT:-9190}
folder=$(mktemp -d)
simulator=
trap '[ -z "$simulator" ] || kill "$simulator"; rm -rf "$folder"' EXIT

python3 -m venv "$folder/python"
"$folder/python/bin/pip" --quiet install python-aliexpress-api==3.1.0
npm --silent --prefix "$folder" install ae_sdk@0.6.0 >"$folder/npm.log"
cp "$here/node.mjs" "$folder/"

"$binary" simulate --listen "127.0.0.1:$PORT" >"$folder/simulator.log" 2>&1 &
simulator=$!
for _ in $(seq 100); do
  curl --silent --output /dev/null "127.0.0.1:$PORT/__simulator/stats" && break
  sleep 0.1
done
"$folder/python/bin/python" "$here/python.py"
node "$folder/node.mjs"
curl --silent --show-error "127.0.0.1:$PORT/__simulator/stats"
echo
