#!/bin/sh
# start - from sources to a running gateway in one command, on a fresh Debian 12.
#
#   sh gateway/start.sh             127.0.0.1:2525, in the foreground; Ctrl-C stops everything it started
#   sh gateway/start.sh --port25    port 25 on every interface (as root)
#   sh gateway/start.sh --demo      ten messages through a gateway of its own, a table of what became of them, and out
#   sh gateway/start.sh -c DIR      with the configuration in DIR (written there when DIR is empty)
#
# Installs the packages that are missing, builds build/estafeta, writes a configuration directory when there is none
# (run/etc below the sources), starts a spamd on a Unix socket when the configuration names that one. Nothing outside
# run/ and build/ is written, but for packages and, as root, the system users of the roles.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
run=$root/run
config=
port=127.0.0.1:2525
demo=
while [ $# -gt 0 ]; do
    case $1 in
    --demo) demo=yes ;;
    --port25) port=smtp ;;
    -c) config=$2; shift ;;
    *) echo "usage: sh gateway/start.sh [--demo] [--port25] [-c DIR]" >&2; exit 64 ;;
    esac
    shift
done

sh "$root/gateway/install-packages.sh" "$root/gateway/packages"
mkdir -p "$root/build"
{ cmake -B "$root/build" -S "$root" -G Ninja && ninja -C "$root/build" estafeta; } >"$root/build/start.log" 2>&1 || {
    tail -n 40 "$root/build/start.log" >&2
    exit 70
}
if [ -n "$demo" ]; then
    exec python3 "$root/test-corpus/demo/demo.py" "$root/build/estafeta"
fi

owner=$(id -un)
if [ "$(id -u)" -eq 0 ]; then
    owner=estafeta
    for user in estafeta estafeta-screen estafeta-receive estafeta-scan estafeta-policy estafeta-queue estafeta-relay \
        estafeta-resolver estafeta-ctl; do
        id "$user" >/dev/null 2>&1 || useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
    done
fi
[ -n "$config" ] || config=$run/etc
if [ ! -e "$config/main.cf" ]; then
    mkdir -p "$config" "$run/mail" "$run/log"
    for file in "$root"/rules/*; do
        [ -f "$file" ] || continue
        sed -e "s|@CONFIG@|$config|g" -e "s|@RUN@|$run|g" -e "s|@RULES@|$root/rules|g" -e "s|@OWNER@|$owner|g" \
            -e "s|@PORT@|$port|g" -e "s|@UID@|$(id -u "$owner")|g" -e "s|@GID@|$(id -g "$owner")|g" \
            "$file" >"$config/$(basename "$file")"
    done
    [ "$(id -u)" -ne 0 ] || chown "$owner" "$run/mail"
    echo "estafeta: configuration written to $config"
fi

estafeta=$root/build/estafeta
value() { "$root/build/bin/postconf" -c "$config" -h "$1"; }

spamd=
stop() { [ -z "$spamd" ] || kill "$spamd" 2>/dev/null || true; }
trap stop EXIT
trap 'exit 130' INT TERM
server=$(value spamassassin_server)
case $server in
unix:"$run"/*)
    socket=${server#unix:}
    mkdir -p "$(dirname "$socket")"
    rm -f "$socket"
    as=
    if [ "$(id -u)" -eq 0 ]; then
        as="-u nobody --socketowner=estafeta-scan --socketmode=0660"
        chown nobody "$(dirname "$socket")"
    fi
    # shellcheck disable=SC2086
    spamd --local --max-children=4 --socketpath="$socket" --helper-home-dir="$(dirname "$socket")" \
        --syslog="$run/log/spamd.log" $as >/dev/null 2>&1 &
    spamd=$!
    ;;
esac

where=$(value inet_interfaces)
case $port in smtp) shown="port 25" ;; *) shown=$port ;; esac
echo "estafeta: send it a message:  swaks --server 127.0.0.1:${port##*:} --from you@example.org --to anyone@$(value virtual_mailbox_domains)"
echo "estafeta: mail for $(value virtual_mailbox_domains) lands in the Maildir $(value virtual_mailbox_base)/$(value virtual_mailbox_domains)/ (listening on $shown, $where)"
"$estafeta" start-fg -c "$config"
