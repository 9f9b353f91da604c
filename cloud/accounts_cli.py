"""`skyloop-cloud users` and `tokens`: who may use the console and the HTTP API."""

from __future__ import annotations

import getpass
import json
import sys
import time
from dataclasses import asdict
from typing import Annotated

import typer

from cloud.account_shelf import ROLES, Role
from cloud.errors import RequestError
from cloud.listings import new_table, print_table, utc
from cloud.options import AsJson, Data, opened_store

users_app = typer.Typer(no_args_is_help=True, help="People who may log in to the review console.")
tokens_app = typer.Typer(no_args_is_help=True, help="Keys of programs to the HTTP API.")

RoleOption = Annotated[str, typer.Option(help="viewer, analyst, operator or admin; each may do what those before may")]
Stdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input, one line")]
Name = Annotated[str, typer.Argument(help="The person's name")]
_DAY_S = 86400.0


@users_app.command("add")
def add(name: Name, data: Data, role: RoleOption = "viewer", password_stdin: Stdin = False) -> None:
    """Let a person log in; asks for the password. The first one should be an admin.

    Example: skyloop-cloud users add ann --role admin --data skyloop-data
    """
    from cloud.accounts import hash_password

    reach = _role(role)
    with opened_store(data, make=True) as store:
        if store.user(name) is not None:
            raise RequestError(f"user {name!r} is there already; see skyloop-cloud users --help")
        store.add_user(name, hash_password(_password(from_stdin=password_stdin)), reach, time.time())
        store.note_event(getpass.getuser(), "user added", name, reach)
    typer.echo(f"{name} may log in as {reach}")


@users_app.command("list")
def list_users(data: Data, as_json: AsJson = False) -> None:
    """List who may log in. Example: skyloop-cloud users list --data skyloop-data."""
    with opened_store(data) as store:
        found = store.users()
    if as_json:
        typer.echo(json.dumps([asdict(user) for user in found]))
        return
    shown = new_table("name", "role", "state", "since (UTC)")
    for user in found:
        shown.add_row(user.name, user.role, "disabled" if user.is_disabled else "active", utc(user.made_at_s))
    print_table(shown)


@users_app.command("role")
def change_role(name: Name, role: Annotated[str, typer.Argument(help="The new role")], data: Data) -> None:
    """Change what a person may do, at once. Example: skyloop-cloud users role ann operator --data skyloop-data."""
    reach = _role(role)
    with opened_store(data) as store:
        store.change_user(name, role=reach)
        store.note_event(getpass.getuser(), "role changed", name, reach)
    typer.echo(f"{name} is {reach} now")


@users_app.command("password")
def change_password(name: Name, data: Data, password_stdin: Stdin = False) -> None:
    """Give a person another password and end their log-ins. Example: skyloop-cloud users password ann --data …."""
    from cloud.accounts import hash_password

    with opened_store(data) as store:
        if store.user(name) is None:
            raise RequestError(f"no user {name[:70]!r}; see skyloop-cloud users list")
        store.change_user(name, password_hash=hash_password(_password(from_stdin=password_stdin)))
        store.note_event(getpass.getuser(), "password changed", name)
    typer.echo(f"{name} has a new password and is logged out everywhere")


@users_app.command("disable")
def disable(name: Name, data: Data) -> None:
    """Shut a person out, at once. Example: skyloop-cloud users disable ann --data skyloop-data."""
    _set_disabled(data, name, is_disabled=True)
    typer.echo(f"{name} is shut out")


@users_app.command("enable")
def enable(name: Name, data: Data) -> None:
    """Let a person in again. Example: skyloop-cloud users enable ann --data skyloop-data."""
    _set_disabled(data, name, is_disabled=False)
    typer.echo(f"{name} may log in again")


@tokens_app.command("new")
def new_token(
    name: Annotated[str, typer.Argument(help="What the token is for")],
    data: Data,
    role: RoleOption = "viewer",
    days: Annotated[float, typer.Option(min=0.001, max=3660, help="How long it is good for")] = 90.0,
) -> None:
    """Print a new token, which cannot be shown again. Give it as `Authorization: Bearer TOKEN`.

    Example: skyloop-cloud tokens new dashboard --role viewer --days 30 --data skyloop-data
    """
    reach = _role(role)
    with opened_store(data, make=True) as store:
        secret = store.add_token(name, reach, time.time(), days * _DAY_S)
        store.note_event(getpass.getuser(), "token made", name, f"{reach}, {days:g} days")
    typer.echo(secret)


@tokens_app.command("list")
def list_tokens(data: Data, as_json: AsJson = False) -> None:
    """List the tokens, without their secrets. Example: skyloop-cloud tokens list --data skyloop-data."""
    with opened_store(data) as store:
        found = store.tokens()
    if as_json:
        typer.echo(json.dumps([asdict(token) for token in found]))
        return
    shown = new_table("name", "role", "state", "until (UTC)", "last used (UTC)")
    for token in found:
        is_over = token.expires_at_s <= time.time()
        state = "revoked" if token.is_revoked else "expired" if is_over else "active"
        used = "-" if token.used_at_s is None else utc(token.used_at_s)
        shown.add_row(token.name, token.role, state, utc(token.expires_at_s), used)
    print_table(shown)


@tokens_app.command("revoke")
def revoke_token(name: Annotated[str, typer.Argument(help="The token's name")], data: Data) -> None:
    """Let nobody in with a token any more, at once. Example: skyloop-cloud tokens revoke dashboard --data …."""
    with opened_store(data) as store:
        store.revoke_token(name)
        store.note_event(getpass.getuser(), "token revoked", name)
    typer.echo(f"{name} is revoked")


def _set_disabled(data: Data, name: str, *, is_disabled: bool) -> None:
    with opened_store(data) as store:
        store.change_user(name, is_disabled=is_disabled)
        store.note_event(getpass.getuser(), "user disabled" if is_disabled else "user enabled", name)


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _role(text: str) -> Role:
    if text not in ROLES:
        raise RequestError(f"role {text!r} is not one of {', '.join(ROLES)}")
    return text
