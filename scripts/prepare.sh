#!/usr/bin/env bash
# Makes a checkout ready to run: dependencies, the pinned Node, dist; with --test also the servers that tests use.
# npm calls it before `start` and `test`, so it does nothing, quickly, when there is nothing to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'prepare: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The installer must not run on the Node that it is about to replace.
outside_path() { printf '%s' "$PATH" | tr ':' '\n' | grep -v '/node_modules/\.bin$' | paste -sd: -; }

install_dependencies() {
  local installed=node_modules/.package-lock.json stamp=node_modules/.prepared-from
  if [[ -f $installed && ! package-lock.json -nt $installed ]]; then return; fi
  # A fresh checkout of the same lock file is newer and still the same.
  if [[ -f $installed ]] && cmp -s package-lock.json "$stamp"; then return; fi
  say "installing dependencies"
  # Exactly what the lock file says, like `npm ci`, which however refuses a lock file that was written where
  # optional binaries of other platforms could not be looked up.
  PATH=$(outside_path) npm install --no-save --include=dev --no-audit --no-fund --loglevel=error >&2
  cp package-lock.json "$stamp"
}

# Tests and the examples run on this Node whatever the machine has. npm may have been told to run no install
# scripts, which is how the `node` package fetches its binary.
pinned_node() {
  if node_modules/.bin/node --version >/dev/null 2>&1; then return; fi
  say "fetching the pinned Node"
  (cd node_modules/node && PATH=$(outside_path) node installArchSpecificPackage.js >&2) || true
  mkdir -p node_modules/.bin
  ln -sf ../node/bin/node node_modules/.bin/node
  node_modules/.bin/node --version >/dev/null 2>&1 ||
    fail "the pinned Node could not be installed: run 'npm rebuild node', or use Node >= 22.12 yourself"
}

# The stamp is outside dist, which is published, and is set only once a build succeeded.
build_dist() {
  local stamp=.cache/built
  if [[ -f dist/index.js && -f $stamp ]] &&
    [[ -z $(find src package.json tsconfig.json tsconfig.build.json -newer "$stamp" -print -quit) ]]; then
    return
  fi
  say "building dist"
  mkdir -p .cache
  # Taken before the build begins, so that what is edited meanwhile is built the next time.
  touch .cache/building
  PATH="$PWD/node_modules/.bin:$PATH" npm run --silent build >&2
  mv .cache/building "$stamp"
}

install_dependencies
pinned_node
build_dist
if [[ ${1:-} == --test ]]; then bash scripts/install-servers.sh; fi
