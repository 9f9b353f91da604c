"""People, the browsers they are logged in with, and the tokens of programs. Secrets are known by their digest alone."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from cloud.database import Database
from cloud.errors import RequestError
from cloud.tables import LoginRow, TokenRow, UserRow

Role: TypeAlias = Literal["viewer", "analyst", "operator", "admin"]
"""Least first, each may do what those before it may: look; answer cases and make prompts of one craft; steer craft,
bundles and wider prompts; manage people and tokens."""

ROLES: tuple[Role, ...] = get_args(Role)

TOKEN_PREFIX = "skl_"  # noqa: S105 - lets scanners of leaked secrets recognise one

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}")
_USED_EVERY_S = 60.0
"""The last use of a token or log-in is written no more often: a read must not cost a durable commit."""


@dataclass(frozen=True)
class User:
    """A person who may log in.

    Attributes:
        name: unique.
        role: what the person may do.
        is_disabled: True lets nobody in under this name.
        made_at_s: wall time.
    """

    name: str
    role: Role
    is_disabled: bool
    made_at_s: float


@dataclass(frozen=True)
class Login:
    """A browser in which a person is logged in.

    Attributes:
        user: who.
        csrf: what every form of this browser must repeat.
        expires_at_s: wall time.
    """

    user: User
    csrf: str
    expires_at_s: float


@dataclass(frozen=True)
class Token:
    """A program's key to the HTTP API, less its secret.

    Attributes:
        name: unique.
        role: what the program may do.
        made_at_s, expires_at_s, used_at_s: wall times; the last to the minute, None before the first use.
        is_revoked: True lets nobody in with it.
    """

    name: str
    role: Role
    made_at_s: float
    expires_at_s: float
    used_at_s: float | None
    is_revoked: bool


class AccountShelf:
    """The account part of the store."""

    _db: Database

    def add_user(self, name: str, password_hash: str, role: Role, now_s: float) -> None:
        """Let a person log in.

        Raises:
            RequestError: the name is malformed or taken.
        """
        _check_name("user", name)
        with self._db.writing() as session:
            if session.get(UserRow, name) is not None:
                raise RequestError(f"user {name!r} is there already; see skyloop-cloud users --help")
            session.add(UserRow(name=name, password_hash=password_hash, role=role, made_at_s=now_s))

    def change_user(
        self,
        name: str,
        *,
        role: Role | None = None,
        password_hash: str | None = None,
        is_disabled: bool | None = None,
    ) -> None:
        """Change what is given; another password, or none any more, ends the person's log-ins.

        Raises:
            RequestError: no such user, or the last admin would be gone.
        """
        with self._db.writing() as session:
            row = _user_row(session, name)
            row.role = row.role if role is None else role
            row.password_hash = row.password_hash if password_hash is None else password_hash
            row.is_disabled = row.is_disabled if is_disabled is None else is_disabled
            if password_hash is not None or is_disabled:
                session.execute(delete(LoginRow).where(LoginRow.user == name))
            session.flush()
            admins = select(UserRow).where(UserRow.role == "admin", ~UserRow.is_disabled)
            if (role or is_disabled) and session.scalars(admins).first() is None:
                raise RequestError(f"{name!r} is the last admin; make another one first")

    def users(self) -> list[User]:
        """Everybody, by name."""
        with self._db.reading() as session:
            return [_user(row) for row in session.scalars(select(UserRow).order_by(UserRow.name))]

    def user(self, name: str) -> User | None:
        """One person; None where nobody has the name."""
        with self._db.reading() as session:
            row = session.get(UserRow, name)
            return None if row is None else _user(row)

    def password_hash(self, name: str) -> str | None:
        """What to check a password against; None where nobody may log in under this name."""
        with self._db.reading() as session:
            row = session.get(UserRow, name)
            return None if row is None or row.is_disabled else row.password_hash

    def open_login(self, user: str, now_s: float, life_s: float) -> str:
        """The secret for the cookie of a browser in which somebody has just proved who they are."""
        secret = secrets.token_urlsafe(32)
        with self._db.writing() as session:
            _user_row(session, user)
            session.execute(delete(LoginRow).where(LoginRow.expires_at_s <= now_s))
            row = LoginRow(
                secret_sha256=_digest(secret), user=user, csrf=secrets.token_urlsafe(32), expires_at_s=now_s + life_s
            )
            session.add(row)
        return secret

    def login(self, secret: str, now_s: float, life_s: float | None = None) -> Login | None:
        """Who is logged in with a cookie's secret; None where nobody is, any more.

        Args:
            secret: of the cookie.
            now_s: wall time.
            life_s: from now on it is to last so long, to the minute; None leaves its end as it is.
        """
        with self._db.reading() as session:
            row = session.get(LoginRow, _digest(secret))
            user = session.get(UserRow, row.user) if row is not None else None
            if row is None or user is None or user.is_disabled or row.expires_at_s <= now_s:
                return None
            found = Login(_user(user), row.csrf, row.expires_at_s)
        if life_s is not None and now_s + life_s - found.expires_at_s >= _USED_EVERY_S:
            with self._db.writing() as session:
                extended = update(LoginRow).where(LoginRow.secret_sha256 == _digest(secret))
                session.execute(extended.values(expires_at_s=now_s + life_s))
        return found

    def close_login(self, secret: str) -> None:
        """Log a browser out."""
        with self._db.writing() as session:
            session.execute(delete(LoginRow).where(LoginRow.secret_sha256 == _digest(secret)))

    def close_logins(self) -> None:
        """Log every browser out."""
        with self._db.writing() as session:
            session.execute(delete(LoginRow))

    def add_token(self, name: str, role: Role, now_s: float, life_s: float) -> str:
        """A new token's secret, which cannot be read again.

        Raises:
            RequestError: the name is malformed or taken.
        """
        _check_name("token", name)
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        with self._db.writing() as session:
            if session.get(TokenRow, name) is not None:
                raise RequestError(f"token {name!r} is there already; give another name")
            session.add(
                TokenRow(
                    name=name, secret_sha256=_digest(secret), role=role, made_at_s=now_s, expires_at_s=now_s + life_s
                )
            )
        return secret

    def token(self, secret: str, now_s: float) -> Token | None:
        """The token of a secret; None where there is none, or it is revoked or over."""
        digest = _digest(secret)
        with self._db.reading() as session:
            row = session.scalar(select(TokenRow).where(TokenRow.secret_sha256 == digest))
            if row is None or row.is_revoked or row.expires_at_s <= now_s:
                return None
            found = _token(row)
        if found.used_at_s is None or now_s - found.used_at_s >= _USED_EVERY_S:
            with self._db.writing() as session:
                session.execute(update(TokenRow).where(TokenRow.secret_sha256 == digest).values(used_at_s=now_s))
        return found

    def tokens(self) -> list[Token]:
        """Every token, revoked and expired ones too, by name."""
        with self._db.reading() as session:
            return [_token(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.name))]

    def revoke_token(self, name: str) -> None:
        """Let nobody in with a token any more, at once.

        Raises:
            RequestError: there is none of this name.
        """
        with self._db.writing() as session:
            row = session.get(TokenRow, name)
            if row is None:
                raise RequestError(f"no token {name[:70]!r}; see skyloop-cloud tokens list")
            row.is_revoked = True


def _digest(secret: str) -> str:
    """Secrets are 32 random bytes: no salt nor slow hash is needed to keep them."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"{what} name {name[:70]!r} is not 1..64 of A-Z a-z 0-9 . _ @ - starting with a letter or digit"
        )


def _user_row(session: Session, name: str) -> UserRow:
    row = session.get(UserRow, name)
    if row is None:
        raise RequestError(f"no user {name[:70]!r}; see skyloop-cloud users list")
    return row


def _user(row: UserRow) -> User:
    return User(row.name, cast(Role, row.role), row.is_disabled, row.made_at_s)


def _token(row: TokenRow) -> Token:
    return Token(row.name, cast(Role, row.role), row.made_at_s, row.expires_at_s, row.used_at_s, row.is_revoked)
