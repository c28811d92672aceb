#!/usr/bin/env bash
# Makes sure that the servers which tests start (test/servers.ts) are installed: PostgreSQL.
# Tests start private servers of their own; no service of this machine is used, started or changed.
set -euo pipefail

if [[ -n ${TEST_DATABASE_URL:-} ]]; then exit 0; fi

have_postgres() {
  if command -v initdb >/dev/null && command -v postgres >/dev/null; then return 0; fi
  local initdb
  for initdb in /usr/lib/postgresql/*/bin/initdb; do
    if [[ -x $initdb && -x ${initdb%initdb}postgres ]]; then return 0; fi
  done
  return 1
}

give_up() {
  cat >&2 <<TEXT
install-servers: PostgreSQL is missing, and $1.
The tests need its server binaries (initdb, postgres), any version from 13. One of:
  Debian, Ubuntu:  sudo apt-get install postgresql
  Fedora:          sudo dnf install postgresql-server
  macOS:           brew install postgresql
or a database of your own, which tests may write to:
  TEST_DATABASE_URL=postgres://user:password@host:5432/database npm test
TEXT
  exit 1
}

if have_postgres; then exit 0; fi
command -v apt-get >/dev/null || give_up "this machine has no apt-get to install it with"

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  sudo -n true 2>/dev/null || give_up "installing it takes root"
  as_root=(sudo -n)
fi
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >&2; }

echo "install-servers: installing PostgreSQL with apt-get" >&2
apt update || give_up "apt-get update failed"
# The package would create and start a database nobody asked for: the private ones of the tests are enough.
apt install -y --no-install-recommends postgresql-common || give_up "apt-get could not install it"
"${as_root[@]}" sed -i -E 's/^#?create_main_cluster *=.*/create_main_cluster = false/' \
  /etc/postgresql-common/createcluster.conf
apt install -y --no-install-recommends postgresql || give_up "apt-get could not install it"
have_postgres || give_up "apt-get installed none that works"
