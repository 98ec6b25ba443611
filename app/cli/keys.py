"""`cyberimage keys`: the API keys of AUTH_MODE=keys, and the keys that webhooks and URLs are signed with."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from app.cli.common import json_option, print_json
from app.cli.installation import run_command
from app.config.rate_limits import check_limit
from app.core.access import ApiKey, Role, check_key_name
from app.core.times import iso_or_none
from app.services.auth.api_keys import create_key
from app.services.context import AppContext
from app.services.webhooks.signing import signing_secrets


def _name(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    try:
        return check_key_name(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _limit(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    try:
        return None if text is None else check_limit(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.group()
def command() -> None:
    """Make, list and revoke API keys (AUTH_MODE=keys)."""


@command.command()
@click.argument("name", callback=_name)
@click.option("--admin", is_flag=True, help="It may see everything, clean up, load and unload models.")
@click.option("--limit", callback=_limit, help='Instead of RATE_LIMIT_GENERATE, as "10 per minute"; "" = none.')
@click.option("--limit-read", callback=_limit, help='Instead of RATE_LIMIT_READ; "" = none.')
def create(name: str, admin: bool, limit: str | None, limit_read: str | None) -> int:
    """Make a key for NAME and print its token, once."""

    def work(context: AppContext) -> None:
        limits = {"rate_limit_generate": limit, "rate_limit_read": limit_read}
        key, token = create_key(context, name, Role.ADMIN if admin else Role.USER, **limits)
        print(token)
        print(f"Key {key.id} for {key.name} ({key.role}). It is shown this once: keep it now.", file=sys.stderr)
        if context.settings.auth_mode != "keys":
            print("It is asked for when AUTH_MODE=keys is set.", file=sys.stderr)

    return run_command(work)


@command.command("list")
@json_option
def list_keys(as_json: bool) -> int:
    """Show all keys, without their tokens."""

    def work(context: AppContext) -> None:
        keys = context.api_keys.all()
        if as_json:
            print_json([_as_json(key) for key in keys])
        else:
            _print_table(keys)

    return run_command(work)


@command.command()
@click.argument("id", type=int)
def revoke(id: int) -> int:
    """Make the key ID worthless, from its next request on."""

    def work(context: AppContext) -> None:
        key = context.api_keys.revoke(id)
        print(f"Key {key.id} ({key.name}) is revoked. Its jobs and pictures stay.")

    return run_command(work)


@command.command()
def webhook() -> int:
    """Print the secret that webhooks are signed with."""
    return run_command(lambda context: print(*signing_secrets(context), sep="\n"))


@command.command("revoke-urls")
def revoke_urls() -> int:
    """Make all signed URLs of pictures and videos worthless, at once."""

    def work(context: AppContext) -> None:
        context.signed_urls.revoke_all()
        print("All signed URLs are revoked. Those signed from now on are valid.")

    return run_command(work)


def _print_table(keys: list[ApiKey]) -> None:
    print(f"{'ID':>4}  {'NAME':<24} {'ROLE':<6} {'CREATED':<17} {'LAST USED':<17} {'REVOKED':<17} LIMITS")
    for key in keys:
        times = (f"{_when(at):<17}" for at in (key.created_at, key.last_used_at, key.revoked_at))
        print(f"{key.id:>4}  {key.name:<24} {key.role:<6} {' '.join(times)} {_limits(key)}".rstrip())


def _as_json(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "created_at": iso_or_none(key.created_at),
        "last_used_at": iso_or_none(key.last_used_at),
        "revoked_at": iso_or_none(key.revoked_at),
        "rate_limit_generate": key.rate_limit_generate,
        "rate_limit_read": key.rate_limit_read,
    }


def _when(seconds: float | None) -> str:
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")


def _limits(key: ApiKey) -> str:
    named = (("generate", key.rate_limit_generate), ("read", key.rate_limit_read))
    return ", ".join(f"{name}: {limit or 'none'}" for name, limit in named if limit is not None)
