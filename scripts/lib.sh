# Shared by the scripts here: says what it does, installs what is missing, starts a container engine where none answers.
# Source it; it sets $root, $venv, $state and changes nothing by itself.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"
state="${BINDERLET_PATHS__STATE:-$root/.binderlet}"

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

fail() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  hint: %s\n' "$2" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages PACKAGE...: those that are missing, in one go.
install_packages() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || fail "these packages are missing and there is no apt-get: ${missing[*]}" \
    "Install them with this system's own package manager and start again."
  say "Installing ${missing[*]}"
  local log="$state/apt.log"
  mkdir -p "$state"
  # A foreign source that cannot be read must not stop us: the install below says if something is really missing.
  as_root apt-get update >"$log" 2>&1 || true
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1 ||
    { tail -n 5 "$log" >&2; fail "apt-get could not install ${missing[*]}" "The whole output is in $log; set a mirror that answers in /etc/apt/sources.list."; }
}

available() { apt-cache show "$1" 2>/dev/null | grep -q '^Package:'; }

# What the service itself needs.
install_service_packages() {
  local packages=(python3 python3-venv git git-lfs haproxy mmdebstrap nftables ca-certificates)
  ! grep -qi ubuntu /etc/os-release 2>/dev/null || packages+=(debian-archive-keyring)
  install_packages "${packages[@]}"
}

# What the tests and benchmarks need besides.
install_test_packages() {
  local packages=(podman busybox-static wrk openssh-client iproute2 docker-registry age)
  # Ubuntu's chromium package is a snap; there Playwright brings a browser of its own.
  grep -qi ubuntu /etc/os-release 2>/dev/null || packages+=(chromium)
  install_packages "${packages[@]}"
}

install_test_browser() {
  command -v chromium >/dev/null && return
  say "Installing a browser for the tests"
  as_root "$venv/bin/playwright" install --with-deps chromium
}

# For the tests of the chart, which are skipped without it.
install_test_helm() { "$venv/bin/python" "$root/scripts/helm.py" || true; }

# build_test_cluster TESTS: in the background, behind everything else; what needs it comes last. Once a machine.
build_test_cluster() {
  [ -z "${KUBECONFIG:-}" ] && [[ -z $1 || $1 = *kube* ]] || return 0
  set -m
  nice -n 19 "$root/scripts/cluster" build >"$state/cluster.log" 2>&1 &
  set +m
  cluster_build=$!
}

# Ends the building where tests end before it.
end_test_cluster() {
  [ -z "${cluster_build:-}" ] || [ -z "$(jobs -pr)" ] || kill -- "-$cluster_build" || true
}

# install_python LOCK: the Python environment, exactly as in that lock file; brought up to date when the file changes.
install_python() {
  local lock="$root/$1" stamp="$venv/.installed-$1" wanted python
  wanted=$(sha256sum "$lock" "$root/pyproject.toml" | sha256sum)
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "Installing the Python environment ($1)"
  python=$(find_python) || fail "Python 3.11 or newer is needed" "Debian 12 and Ubuntu 24.04 have it as python3."
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  mkdir -p "$state"
  pip_install --require-hashes -r "$lock"
  pip_install --no-deps --no-build-isolation -e "$root"
  printf '%s' "$wanted" >"$stamp"
}

pip_install() {
  "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@" >"$state/pip.log" 2>&1 || {
    tail -n 5 "$state/pip.log" >&2
    fail "the Python packages could not be installed" \
      "Set PIP_INDEX_URL to a package index that answers from here; the output is in $state/pip.log."
  }
}

find_python() {
  local python
  for python in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s' "$python"
      return
    fi
  done
  return 1
}

engine_answers() {
  local socket
  for socket in "${DOCKER_HOST:-}" /var/run/docker.sock /run/podman/podman.sock "${XDG_RUNTIME_DIR:-/nonexistent}/podman/podman.sock"; do
    socket=${socket#unix://}
    [ -S "$socket" ] || continue
    python3 - "$socket" <<'PY' && return
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.settimeout(5)
try:
    client.connect(sys.argv[1])
    client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
    sys.exit(b"200" not in client.recv(64))
except OSError:
    sys.exit(1)
PY
  done
  return 1
}

# Uses the engine that answers; installs and starts Debian's docker.io otherwise, and notes that it was us.
start_engine() {
  engine_answers && return
  local packages=(docker.io iptables) package
  # Newer releases split these out of docker.io.
  for package in docker-cli docker-buildx; do ! available "$package" || packages+=("$package"); done
  install_packages "${packages[@]}"
  mkdir -p "$state"
  if ! engine_answers; then
    say "Starting Docker"
    if [ -d /run/systemd/system ]; then
      as_root systemctl start docker
      echo systemd >"$state/engine-started"
    else
      as_root sh -c "setsid dockerd >'$state/dockerd.log' 2>&1 </dev/null & echo \$! >'$state/engine-started'"
    fi
  fi
  local i
  for i in $(seq 60); do
    engine_answers && return
    sleep 0.5
  done
  tail -n 5 "$state/dockerd.log" >&2 2>/dev/null || true
  fail "Docker does not come up" "Its log is in $state/dockerd.log, or in 'journalctl -u docker'."
}

# Ends the engine if start_engine started it.
stop_engine() {
  local started
  started=$(cat "$state/engine-started" 2>/dev/null) || return 0
  rm -f "$state/engine-started"
  say "Stopping Docker, as it was started here"
  if [ "$started" = systemd ]; then
    as_root systemctl stop docker.socket docker
    return
  fi
  as_root kill "$started" 2>/dev/null || return 0
  local i
  for i in $(seq 60); do
    as_root kill -0 "$started" 2>/dev/null || return 0
    sleep 0.25
  done
}
