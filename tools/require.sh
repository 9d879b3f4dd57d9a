#!/usr/bin/env bash
# Makes sure that the named programs are here: `tools/require.sh cargo cc redis-server`.
# What is missing and comes from Debian is installed with apt, and that is said; without apt or the
# right to use it, this says what to install and fails. Services that the packages bring are not
# started.
set -euo pipefail

say() { printf '%s\n' "$*" >&2; }

# The Debian package of a program; nothing when it does not come from Debian.
package_of() {
  case "$1" in
    cc) echo build-essential ;;
    chromedriver) echo chromium-driver ;;
    postgres) echo postgresql ;;
    curl | nginx | prometheus | redis-server | valgrind | varnish | wrk) echo "$1" ;;
  esac
}

is_here() {
  case "$1" in
    clippy) cargo clippy --version >/dev/null 2>&1 ;;
    rustfmt) cargo fmt --version >/dev/null 2>&1 ;;
    # Debian keeps the server beside the path, a folder for each version.
    postgres) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
    varnish) command -v varnishd >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_install() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

# Debian asks this file before it starts a service. One that was there stays as it is.
readonly service_policy=/usr/sbin/policy-rc.d

install_packages() {
  local log made_policy=
  log=$(mktemp)
  say "installing from Debian: $*"
  if [ ! -e "$service_policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$service_policy" >/dev/null
    as_root chmod 755 "$service_policy"
    made_policy=yes
  fi
  local status=0
  {
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -q -y --no-install-recommends "$@"
  } >"$log" 2>&1 || status=$?
  if [ -n "$made_policy" ]; then as_root rm -f "$service_policy"; fi
  if [ "$status" != 0 ]; then
    say "apt failed; its last lines:"
    tail -n 15 "$log" >&2
  fi
  rm -f "$log"
  return "$status"
}

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
packages=()
lacking=0
for program in "$@"; do
  is_here "$program" && continue
  package=$(package_of "$program")
  if [ -n "$package" ]; then
    packages+=("$package")
  elif [ "$program" = cargo ]; then
    say "cargo is missing: install the Rust toolchain from https://rustup.rs"
    lacking=1
  elif command -v rustup >/dev/null; then
    say "adding to the Rust toolchain: $program"
    rustup --quiet component add "$program" || lacking=1
  else
    say "$program is missing: install that part of the Rust toolchain"
    lacking=1
  fi
done

if [ "${#packages[@]}" -gt 0 ]; then
  if can_install; then
    install_packages "${packages[@]}"
  else
    say "missing: ${packages[*]}"
    say "install them first, on Debian with: sudo apt-get install ${packages[*]}"
    lacking=1
  fi
fi
exit "$lacking"
