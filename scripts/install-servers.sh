#!/usr/bin/env bash
# Makes sure that the servers which tests start (test/servers.ts) are installed: PostgreSQL, Redis, Memcached.
# Tests start private servers of their own; no service of this machine is used, started or changed.
set -euo pipefail

say() { printf 'install-servers: %s\n' "$*" >&2; }

have_postgres() {
  if command -v initdb >/dev/null && command -v postgres >/dev/null; then return 0; fi
  local initdb
  for initdb in /usr/lib/postgresql/*/bin/initdb; do
    if [[ -x $initdb && -x ${initdb%initdb}postgres ]]; then return 0; fi
  done
  return 1
}
have_redis() { command -v redis-server >/dev/null || command -v valkey-server >/dev/null; }
have_memcached() { command -v memcached >/dev/null; }

# What is named by a variable is not looked for.
missing() {
  [[ -n ${TEST_DATABASE_URL:-} ]] || have_postgres || echo postgres
  [[ -n ${TEST_REDIS_SERVER:-} ]] || have_redis || echo redis
  [[ -n ${TEST_MEMCACHED_SERVER:-} ]] || have_memcached || echo memcached
}

postgres_text() {
  cat <<TEXT
PostgreSQL is missing: its server programs (initdb, postgres), any version from 13. One of:
  Debian, Ubuntu:  sudo apt-get install postgresql
  Fedora:          sudo dnf install postgresql-server
  macOS:           brew install postgresql
or a database of your own, which tests may write to:
  TEST_DATABASE_URL=postgres://user:password@host:5432/database npm test
TEXT
}
redis_text() {
  cat <<TEXT
Redis is missing: its program redis-server, any version from 6.2, or Valkey's valkey-server. One of:
  Debian, Ubuntu:  sudo apt-get install redis-server
  Fedora:          sudo dnf install valkey
  macOS:           brew install redis
or where the program is (tests start it themselves):
  TEST_REDIS_SERVER=/path/to/redis-server npm test
TEXT
}
memcached_text() {
  cat <<TEXT
Memcached is missing: its program memcached, any version from 1.6. One of:
  Debian, Ubuntu:  sudo apt-get install memcached
  Fedora:          sudo dnf install memcached
  macOS:           brew install memcached
or where the program is (tests start it themselves):
  TEST_MEMCACHED_SERVER=/path/to/memcached npm test
TEXT
}

give_up() {
  say "the tests need servers that are not there, and $1."
  local name
  for name in $(missing); do "${name}_text" >&2; done
  exit 1
}

wanted=$(missing)
if [[ -z $wanted ]]; then exit 0; fi
command -v apt-get >/dev/null || give_up "this machine has no apt-get to install them with"

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  sudo -n true 2>/dev/null || give_up "installing them takes root"
  as_root=(sudo -n)
fi
root() { ${as_root[@]+"${as_root[@]}"} "$@"; }
apt() { root env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >&2; }
install() { apt install -y --no-install-recommends "$@"; }

# Debian's packages start a system service as soon as they are installed, unless this program forbids it. One that
# is there already is the administrator's word on the matter, and stays.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap 'root rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | root tee "$policy" >/dev/null
  root chmod 755 "$policy"
fi

# `set -e` does not hold inside of these, because their failure is asked for: hence the chains.
install_postgres() {
  # The package would create and start a database nobody asked for: the private ones of the tests are enough.
  install postgresql-common &&
    root sed -i -E 's/^#?create_main_cluster *=.*/create_main_cluster = false/' \
      /etc/postgresql-common/createcluster.conf &&
    install postgresql
}
install_redis() {
  if install redis-server; then not_at_boot redis-server; else install valkey-server && not_at_boot valkey-server; fi
}
install_memcached() { install memcached && not_at_boot memcached; }

# The service would start with the machine the next time.
not_at_boot() { root update-rc.d "$1" disable >&2 || say "could not disable the service $1; it is not needed"; }

say "installing with apt-get:" $wanted
apt update || give_up "apt-get update failed"
for name in $wanted; do
  "install_$name" || give_up "apt-get could not install $name"
done
[[ -z $(missing) ]] || give_up "apt-get installed none that work"
