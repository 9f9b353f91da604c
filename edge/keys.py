"""CURVE key files: who the craft is, who the cloud is, and which cloud the craft trusts.

A folder of keys holds `<name>.pub` (to hand out) and `<name>.key` (secret, readable by its owner alone), each
one line of z85 text. The craft's name is `edge`, the cloud's `cloud`; the craft's folder also holds
`server.pub`, the one cloud it talks to.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from edge.errors import KeyFileError

EDGE_NAME = "edge"
CLOUD_NAME = "cloud"
SERVER_NAME = "server"

_Z85_CHARS = 40
"""32 key bytes; z85 writes 4 bytes as 5 characters (ZeroMQ RFC 32)."""

_Z85_ALPHABET = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")


@dataclass(frozen=True)
class KeyPair:
    """One identity on the wire.

    Attributes:
        public: 40 bytes of z85; with CURVE this is also the `User-Id` the cloud knows the craft by.
        secret: 40 bytes of z85; left out of `repr`, so that no log shows it.
    """

    public: bytes
    secret: bytes = field(repr=False)


def new_keys(out: Path, name: str) -> KeyPair:
    """A fresh key pair, written as `<out>/<name>.pub` (0644) and `<out>/<name>.key` (0600).

    Raises:
        KeyFileError: one of the files exists, or the folder cannot be written.
    """
    public_path, secret_path = out / f"{name}.pub", out / f"{name}.key"
    for path in (public_path, secret_path):
        if path.exists():
            raise KeyFileError(f"{path} exists and is not overwritten; remove it first or choose another folder")
    public, secret = zmq.curve_keypair()
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_new(secret_path, secret, 0o600)
        _write_new(public_path, public, 0o644)
    except OSError as exc:
        raise KeyFileError(f"{out}: keys cannot be written ({exc.strerror}); check the folder") from exc
    return KeyPair(public, secret)


def load_keys(folder: Path, name: str) -> KeyPair:
    """The key pair of a folder.

    Args:
        folder: where `new_keys` wrote it.
        name: `edge` or `cloud`.

    Raises:
        KeyFileError: a file is missing, is not a key, does not belong to the other, or others may read the
            secret one.
    """
    secret = _read_key(folder / f"{name}.key", secret=True)
    public = _read_key(folder / f"{name}.pub")
    if zmq.curve_public(secret) != public:
        raise KeyFileError(f"{folder / name}.pub does not belong to {name}.key; make a new pair")
    return KeyPair(public, secret)


def trust_server(public_key: str | Path, keys: Path) -> bytes:
    """Pin the cloud's public key as `<keys>/server.pub`, and return it.

    Args:
        public_key: the key's 40 characters, or the file that holds them.
        keys: the craft's key folder.

    Raises:
        KeyFileError: not a key, or another cloud is pinned already.
    """
    text = str(public_key)
    is_key = len(text) == _Z85_CHARS and _Z85_ALPHABET.issuperset(text.encode()) and not Path(text).exists()
    key = text.encode() if is_key else read_public_key(Path(text))
    path = keys / f"{SERVER_NAME}.pub"
    if path.exists():
        if _read_key(path) != key:
            raise KeyFileError(f"{path} pins another server; remove it first if the server really changed")
        return key
    try:
        keys.mkdir(parents=True, exist_ok=True)
        _write_new(path, key, 0o644)
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be written ({exc.strerror}); check the folder") from exc
    return key


def load_server_key(keys: Path) -> bytes:
    """The pinned public key of the cloud.

    Raises:
        KeyFileError: none is pinned yet, or the file is damaged.
    """
    path = keys / f"{SERVER_NAME}.pub"
    if not path.exists():
        raise KeyFileError(
            f"{path} is missing: pin the cloud with `skyloop-edge trust SERVER_PUBLIC_KEY --keys {keys}`"
        )
    return _read_key(path)


def read_public_key(path: Path) -> bytes:
    """A public key from its file.

    Raises:
        KeyFileError: the file is missing, is not a key, or is a secret one.
    """
    if path.suffix == ".key":
        raise KeyFileError(f"{path} is a secret key, which stays where it is; give {path.with_suffix('.pub')}")
    return _read_key(path)


def _write_new(path: Path, key: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)  # whatever the umask says
        file.write(key + b"\n")
        file.flush()
        os.fsync(handle)


def _missing_cure(path: Path) -> str:
    if path.stem in (EDGE_NAME, CLOUD_NAME):
        return f"make a key pair with `skyloop-{path.stem} keys new --out {path.parent}`"
    return "give a .pub file, or the 40 characters in it"


def _read_key(path: Path, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = file.read(_Z85_CHARS + 2).strip()
    except FileNotFoundError as exc:
        raise KeyFileError(f"{path} is missing: {_missing_cure(path)}") from exc
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be read ({exc.strerror}); check its rights") from exc
    if secret and mode & 0o077:
        raise KeyFileError(f"{path} has mode {mode:04o}: others may read it; run `chmod 600 {path}`")
    if len(key) != _Z85_CHARS or not _Z85_ALPHABET.issuperset(key):
        raise KeyFileError(f"{path} is not a key: expected one line of {_Z85_CHARS} z85 characters")
    return key
