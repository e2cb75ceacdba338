#!/bin/bash
# Installs the real servers that the tests run against. Safe to repeat; quick
# when everything is there. Needs Go, and root for the Debian packages.
set -euo pipefail

packages=(clamav clamav-daemon clamdscan postgresql attr systemd samba samba-vfs-modules smbclient rclone inotify-tools python3-aiosmtpd rsyslog)
modules=(
	github.com/versity/versitygw/cmd/versitygw@v1.8.0
	github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
	github.com/fsouza/fake-gcs-server@v1.56.1
	github.com/nats-io/nats-server/v2@v2.15.2
)
# Servers that are Node programs, in a folder of their own.
node=(azurite@3.35.0 fauxqs@1.9.2 oidc-provider@9.13.3)
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
	name=${path%/v[0-9]} name=${name##*/}
	if go version -m "$bin/$name" 2>/dev/null | grep -qF "	$version"; then
		continue
	fi
	echo "building $m (some minutes, once)"
	CGO_ENABLED=0 GOFLAGS=-trimpath GOBIN=$bin go install "$m"
done

npm=${bin%/bin}/npm
if [ "$(cat "$npm/installed" 2>/dev/null)" != "${node[*]}" ]; then
	mkdir -p "$npm"
	npm install --prefix "$npm" --no-audit --no-fund --no-save --loglevel=error "${node[@]}"
	echo "${node[*]}" >"$npm/installed"
fi
echo "servers are installed in $bin and by apt"
