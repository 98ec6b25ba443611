#!/bin/sh
# Install the generators of clients and the checkers that the tests run: tests/node's packages by npm, and
# openapi-python-client into an environment of its own. Never fails: the tests say what they skip.
generator=.venv/client-generator
lock=locks/client-generator.txt
if ! cmp -s "$lock" "$generator/installed.txt"; then
    echo "Installing openapi-python-client for the tests of generated clients …"
    if .venv/bin/python -m venv --clear --without-pip "$generator" &&
        .venv/bin/python -m pip --python "$generator/bin/python" install --quiet --disable-pip-version-check \
            --require-hashes -r "$lock"; then
        cp "$lock" "$generator/installed.txt"
    else
        echo "NO TESTS OF GENERATED PYTHON CLIENTS: openapi-python-client could not be installed." >&2
    fi
fi
if ! command -v npm >/dev/null 2>&1; then
    echo "NO TESTS WITH NODE: npm is not installed. Install Node 20.19 or newer and run make test again." >&2
elif ! cmp -s tests/node/package-lock.json tests/node/node_modules/installed.json; then
    echo "Installing the packages of tests/node …"
    if npm ci --prefix tests/node --ignore-scripts --no-audit --no-fund --silent; then
        cp tests/node/package-lock.json tests/node/node_modules/installed.json
    else
        echo "NO TESTS WITH NODE: npm could not install the packages of tests/node." >&2
    fi
fi
exit 0
