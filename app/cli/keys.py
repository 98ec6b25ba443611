"""The keys of AUTH_MODE=keys, by command: `python -m app.cli.keys create NAME [--admin]`, `list`, `revoke ID`; and with
`webhook` the one that receivers check our webhooks with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from app.cli.common import run_command
from app.config.rate_limits import check_limit
from app.core.access import ApiKey, Role
from app.services.auth.api_keys import create_key
from app.services.context import AppContext
from app.services.webhooks.signing import signing_secret
from app.store.ops.api_keys import ApiKeyStore

LONGEST_NAME = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status. It may run while the service does."""
    asked = _parser().parse_args(arguments)
    return run_command(lambda context: asked.run(context, asked))


def _create(context: AppContext, asked: argparse.Namespace) -> None:
    role = Role.ADMIN if asked.admin else Role.USER
    limits = {"rate_limit_generate": asked.limit, "rate_limit_read": asked.limit_read}
    key, token = create_key(context, asked.name, role, **limits)
    print(token)
    print(f"Key {key.id} for {key.name} ({key.role}). It is shown this once: keep it now.", file=sys.stderr)
    if context.settings.auth_mode != "keys":
        print("It is asked for when AUTH_MODE=keys is set.", file=sys.stderr)


def _list(context: AppContext, _asked: argparse.Namespace) -> None:
    print(f"{'ID':>4}  {'NAME':<24} {'ROLE':<6} {'CREATED':<17} {'LAST USED':<17} {'REVOKED':<17} LIMITS")
    for key in ApiKeyStore(context.database).all():
        times = (f"{_when(at):<17}" for at in (key.created_at, key.last_used_at, key.revoked_at))
        print(f"{key.id:>4}  {key.name:<24} {key.role:<6} {' '.join(times)} {_limits(key)}".rstrip())


def _revoke(context: AppContext, asked: argparse.Namespace) -> None:
    key = ApiKeyStore(context.database).revoke(asked.id)
    print(f"Key {key.id} ({key.name}) is revoked. Its jobs and pictures stay.")


def _webhook(context: AppContext, _asked: argparse.Namespace) -> None:
    print(signing_secret(context))


def _when(seconds: float | None) -> str:
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")


def _limits(key: ApiKey) -> str:
    named = (("generate", key.rate_limit_generate), ("read", key.rate_limit_read))
    return ", ".join(f"{name}: {limit or 'none'}" for name, limit in named if limit is not None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.cli.keys", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key and print its token, once")
    create.add_argument("name", type=_name, help="whose it is, for people")
    create.add_argument("--admin", action="store_true", help="may see everything, clean up, load and unload models")
    create.add_argument("--limit", type=_limit, help='instead of RATE_LIMIT_GENERATE, as "10 per minute"; "" = none')
    create.add_argument("--limit-read", type=_limit, help='instead of RATE_LIMIT_READ; "" = none')
    create.set_defaults(run=_create)
    commands.add_parser("list", help="show all keys").set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="make a key worthless, from its next request on")
    revoke.add_argument("id", type=int, help="as `list` shows it")
    revoke.set_defaults(run=_revoke)
    commands.add_parser("webhook", help="print the secret that webhooks are signed with").set_defaults(run=_webhook)
    return parser


def _name(text: str) -> str:
    if not text.isprintable() or not 0 < len(text.strip()) <= LONGEST_NAME:
        raise argparse.ArgumentTypeError(f"use 1 to {LONGEST_NAME} printable characters")
    return text.strip()


def _limit(text: str) -> str:
    try:
        return check_limit(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
