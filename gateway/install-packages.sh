#!/bin/sh
# install-packages - installs the Debian packages named in the files given as arguments, those that are missing.
#
# Before: gateway/start.sh, test-corpus/run.sh. Needs root or sudo only when something is missing; services that a
# package would start on its own (spamd, postfix) are kept from starting. Exit 69 when packages cannot be had.
set -eu

missing=
for package in $(sed 's/#.*//' "$@"); do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "install-packages: missing:$missing; run as root: apt-get install$missing" >&2
        exit 69
    }
    as_root=sudo
fi
echo "installing:$missing"
# A policy-rc.d that forbids starting daemons, unless the machine has its own.
guard=/usr/sbin/policy-rc.d
placed=
if [ ! -e "$guard" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$guard" >/dev/null
    $as_root chmod 755 "$guard"
    placed=yes
fi
trap '[ -z "$placed" ] || $as_root rm -f "$guard"' EXIT
$as_root apt-get -q update >/dev/null || true
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing >/dev/null || {
    echo "install-packages: apt-get could not install:$missing" >&2
    exit 69
}
