#!/bin/sh
# Install nginx, HAProxy and Caddy with the system's package manager where they are missing. Never fails: the tests say what
# they skip.
PATH="$PATH:/usr/sbin:/usr/local/sbin"
missing=""
command -v nginx >/dev/null 2>&1 || missing="$missing nginx-light"
command -v haproxy >/dev/null 2>&1 || missing="$missing haproxy"
command -v caddy >/dev/null 2>&1 || missing="$missing caddy"
[ -z "$missing" ] && exit 0
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null 2>&1; then
    echo "Installing$missing for the tests behind proxies …"
    $as_root apt-get update -qq
    for package in $missing; do  # one by one: older systems have no caddy
        if ! $as_root apt-get install -y -qq --no-install-recommends "$package" >/dev/null; then
            echo "NO TESTS BEHIND $package: it could not be installed." >&2
        elif [ -d /run/systemd/system ]; then  # the tests start their own
            $as_root systemctl disable --quiet --now "${package%-light}" || true
        fi
    done
    exit 0
fi
echo "NO TESTS BEHIND PROXIES: missing are$missing. Install them and run make test again." >&2
exit 0
