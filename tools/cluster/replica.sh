#!/bin/sh
# Starts a replica of the service `postgres`. What it has of the primary it goes on from; with an empty folder
# it copies all of it first. A replica that was away for longer than the primary keeps says so in its log:
# remove its volume, and it begins anew.
set -eu
: "${PGDATA:=/var/lib/postgresql/data}"

until [ -s "$PGDATA/PG_VERSION" ]; do
  # A copy that was cut off is no copy.
  find "$PGDATA" -mindepth 1 -delete
  pg_basebackup --host postgres --username postgres --pgdata "$PGDATA" \
    --write-recovery-conf --wal-method stream --checkpoint fast && break
  sleep 1
done
chmod 0700 "$PGDATA"
exec postgres -c hba_file=/etc/breakwater/pg_hba.conf
