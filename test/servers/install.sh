#!/bin/bash
# Installs the real servers that the tests run against. Safe to repeat; quick
# when everything is there. Needs Go, and root for the Debian packages.
set -euo pipefail

packages=(clamav clamav-daemon clamdscan postgresql attr systemd)
modules=(
	github.com/versity/versitygw/cmd/versitygw@v1.8.0
	github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
)
bin=${XDG_CACHE_HOME:-$HOME/.cache}/landwaiter/servers/bin

missing=()
for p in "${packages[@]}"; do
	[ "$(dpkg-query -Wf '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt="apt-get install -y --no-install-recommends ${missing[*]}"
	if [ "$(id -u)" != 0 ]; then
		printf 'These packages are missing and need root. Run, then repeat `make servers`:\n\n  sudo apt-get update\n  sudo env DEBIAN_FRONTEND=noninteractive %s\n\n' "$apt" >&2
		exit 1
	fi
	# The tests start their own; the packages must not start theirs.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f $policy' EXIT
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	$apt
fi

mkdir -p "$bin"
for m in "${modules[@]}"; do
	path=${m%@*} version=${m#*@}
	if go version -m "$bin/${path##*/}" 2>/dev/null | grep -qF "	$version"; then
		continue
	fi
	echo "building $m (some minutes, once)"
	CGO_ENABLED=0 GOFLAGS=-trimpath GOBIN=$bin go install "$m"
done
echo "servers are installed in $bin and by apt"
