#!/bin/sh
# Installs what the local cloud and the tests need: Debian packages that are missing, a Python environment,
# DynamoDB Local, and an evaluator of IAM policies. Prints each step; a second run finds everything and does nothing. Usage: local/setup.sh [VENV]
set -eu
cd "$(dirname "$0")/.."
VENV=${1:-.venv}

# DynamoDB Local, AWS's own engine, comes inside this npm package. It has a licence of its own, so it is fetched.
ENGINE=amplify-dynamodb-simulator
ENGINE_VERSION=2.9.30
ENGINE_SHA256=3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9

report() { printf 'setup: %s\n' "$*"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# missing COMMAND PACKAGE: name the package when the command is not there.
missing() {
  PATH="$PATH:/usr/sbin:/sbin" command -v "$1" > /dev/null || printf '%s ' "$2"
}

python() {
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
      echo "$candidate"
      return
    fi
  done
  report 'Python 3.11 or later is needed; name it with PYTHON=...' >&2
  exit 1
}

packages() {
  missing tgtd tgt             # iSCSI target of the storage host
  missing mkfs.xfs xfsprogs    # its file system, with reflinks
  missing thin_restore thin-provisioning-tools  # tests: metadata of thin pools, and what differs in it
  missing qemu-img qemu-utils  # tests: an independent initiator, and disk images
  [ -e "/usr/lib/$(uname -m)-linux-gnu/qemu/block-iscsi.so" ] || printf 'qemu-block-extra '
  missing iscsi-inq libiscsi-bin
  missing java default-jre-headless  # DynamoDB Local
  missing npm npm                    # fetches it, and the evaluator of IAM policies
  missing openssl openssl
  missing chromium chromium                # tests: the console in a browser
  missing systemd-analyze systemd          # tests: whether systemd reads the unit as it is meant
  missing /usr/bin/python3 python3-minimal # and finds what it starts
  "$1" -c 'import ensurepip, venv' 2> /dev/null || printf 'python3-venv '
}

install_packages() {
  wanted=$(packages "$1")
  [ -n "$wanted" ] || { report '1 of 5: no Debian package is missing'; return; }
  command -v apt-get > /dev/null || {
    report "this system has no apt-get: install the programs of these Debian packages yourself: $wanted" >&2
    exit 1
  }
  report "1 of 5: installing Debian packages: $wanted"
  # The local cloud starts a tgtd of its own on loopback; Debian's service would listen everywhere.
  if [ -d /run/systemd/system ] && ! command -v tgtd > /dev/null; then
    as_root systemctl mask tgt.service
  fi
  as_root apt-get update -qq
  # shellcheck disable=SC2086 # a list of words
  as_root apt-get install --no-install-recommends --assume-no $wanted 2> /dev/null |
    sed -n 's/^Need to get \(.*\) of archives.*/setup:   \1 to fetch/p; s/^After this operation, \(.*\) of .*/setup:   \1 on the disk/p'
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted > /dev/null
}

install_python() {
  [ -x "$VENV/bin/python" ] || {
    report "making $VENV with $("$1" --version)"
    "$1" -m venv "$VENV"
  }
  report "2 of 5: installing the $(grep -c == requirements-dev.lock) Python packages of requirements-dev.lock into $VENV"
  # One line in ten while they are fetched; a failure prints all lines.
  output=$(mktemp)
  "$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar off --require-hashes \
    -r requirements-dev.lock > "$output" 2>&1 &
  installer=$!
  shown=0 found=
  while kill -0 "$installer" 2> /dev/null; do
    count=$(grep -c '^Collecting\|^Requirement already' "$output") || true
    if [ "$count" -ge $((shown + 10)) ]; then
      shown=$count
      report "  $shown found"
    fi
    if [ -z "$found" ] && grep -q '^Installing collected packages' "$output"; then
      found=all
      report '  all found, installing'
    fi
    sleep 1
  done
  wait "$installer" || { cat "$output" >&2; rm -f "$output"; exit 1; }
  rm -f "$output"
  # The console script cinderless, of this source tree. Its build uses the locked setuptools and fetches nothing.
  "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
}

install_engine() {
  [ ! -e .tools/package/emulator/DynamoDBLocal.jar ] || { report '3 of 5: DynamoDB Local is there'; return; }
  report "3 of 5: fetching DynamoDB Local ($ENGINE $ENGINE_VERSION from npm) into .tools"
  rm -rf .tools/new
  mkdir -p .tools/new
  npm pack "$ENGINE@$ENGINE_VERSION" --silent --pack-destination .tools/new > /dev/null
  echo "$ENGINE_SHA256  .tools/new/$ENGINE-$ENGINE_VERSION.tgz" | sha256sum --check --quiet
  tar -xzf ".tools/new/$ENGINE-$ENGINE_VERSION.tgz" -C .tools/new
  rm -rf .tools/package
  mv .tools/new/package .tools/package
  rm -rf .tools/new
}

# An evaluator of IAM policies, which the tests run as a program of its own; it has a licence of its own, so it is fetched.
install_iam() {
  cmp -s tests/iam/package-lock.json .tools/iam/package-lock.json || rm -rf .tools/iam
  [ ! -e .tools/iam/node_modules ] || { report '4 of 5: the evaluator of IAM policies is there'; return; }
  report '4 of 5: fetching the evaluator of IAM policies (tests/iam) into .tools/iam'
  rm -rf .tools/iam.new
  mkdir -p .tools/iam.new
  cp tests/iam/package.json tests/iam/package-lock.json .tools/iam.new
  npm ci --prefix .tools/iam.new --ignore-scripts --silent > /dev/null
  mv .tools/iam.new .tools/iam
}

# The libraries of the web page /console, which is tested in Chromium.
install_console() {
  report '5 of 5: the libraries of the console'
  "$VENV/bin/python" -m infra.console > /dev/null
}

PYTHON=$(python)
install_packages "$PYTHON"
install_python "$PYTHON"
install_engine
install_iam
install_console
report "complete: $VENV/bin/cinderless --help lists the commands"
