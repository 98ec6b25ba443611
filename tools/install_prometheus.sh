#!/bin/sh
# Install Prometheus with promtool by the system's package manager where it is missing. Never fails: the tests say what
# they skip.
command -v prometheus >/dev/null 2>&1 && command -v promtool >/dev/null 2>&1 && exit 0
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null 2>&1; then
    echo "Installing Prometheus for the tests of the dashboard and the alerts …"
    if $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends prometheus >/dev/null; then
        # The tests start their own.
        [ ! -d /run/systemd/system ] || $as_root systemctl disable --quiet --now prometheus prometheus-node-exporter || true
        exit 0
    fi
fi
echo "NO TESTS WITH PROMETHEUS: it is not installed and could not be. Install it and run make test again." >&2
exit 0
