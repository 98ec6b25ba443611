#!/bin/sh
# Install nginx with the system's package manager when there is none. Never fails: the tests say what they skip.
PATH="$PATH:/usr/sbin:/usr/local/sbin"
command -v nginx >/dev/null 2>&1 && exit 0
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null 2>&1; then
    echo "Installing nginx for the tests under a path …"
    $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends nginx-light >/dev/null && exit 0
fi
echo "NO TESTS UNDER A PATH: nginx is not installed and could not be. Install it and run make test again." >&2
exit 0
