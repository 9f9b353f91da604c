"""Keys that sign bundles, made offline: a folder of PEM files, each for one role, and the first root that names them.

The root's keys say who may sign what, the targets' keys sign bundles, those of snapshot and timestamp say what is
newest and until when. A folder may hold some of the keys only: root keys belong somewhere else than the others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.errors import RequestError
from edge.durable import make_folder, sync_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root, T

ROOT_NAME = "root.json"
ROLES = ("root", "targets", "snapshot", "timestamp")

LIFE_DAYS: Mapping[str, int] = {"root": 730, "targets": 365, "snapshot": 90, "timestamp": 30}
"""How long what is signed counts, unless said otherwise: the shorter, the less a cloud in wrong hands can hold back."""


@dataclass(frozen=True)
class KeyPlan:
    """How many keys a role has, and how many of them must sign.

    Attributes:
        root, targets: (keys, threshold); snapshot and timestamp have one each.
    """

    root: tuple[int, int] = (3, 2)
    targets: tuple[int, int] = (2, 2)

    def of(self, role: str) -> tuple[int, int]:
        """(keys, threshold) of a role.

        Raises:
            RequestError: a threshold that no number of signatures can reach, or none at all.
        """
        keys, threshold = {"root": self.root, "targets": self.targets}.get(role, (1, 1))
        if not 1 <= threshold <= keys <= 16:
            raise RequestError(f"{role}: {threshold} of {keys} keys must sign; give 1 to 16 keys, and no more of those")
        return keys, threshold


def make_signing_keys(out: Path, plan: KeyPlan, passphrase: str | None, *, root_days: int | None = None) -> Path:
    """Make keys for every role and the root that names them; return the path of `root.json`, to hand to the crafts.

    Args:
        out: a new folder, best on a medium that is kept in a safe.
        plan: how many.
        passphrase: encrypts the secret keys; None leaves them readable to whoever has the files.
        root_days: how long the root counts.

    Raises:
        RequestError: keys are there already, the plan makes no sense, or the folder cannot be written.
    """
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root

    if (out / ROOT_NAME).exists() or list(out.glob("*.pem")):
        raise RequestError(f"{out}: holds keys already, and they are not overwritten; choose another folder")
    root = Root(version=1, expires=expiry("root", root_days), consistent_snapshot=True)
    signers: dict[str, CryptoSigner] = {}
    for role in ROLES:
        keys, threshold = plan.of(role)
        for number in range(1, keys + 1):
            signer = signers[f"{role}-{number}"] = CryptoSigner.generate_ed25519()
            root.add_key(signer.public_key, role)
        root.roles[role].threshold = threshold
    metadata = Metadata(root)
    for name, signer in signers.items():
        if name.startswith("root-"):
            metadata.sign(signer, append=True)
    files = {f"{name}.pem": _pem(signer, passphrase) for name, signer in signers.items()}
    _write_all(out, files | {ROOT_NAME: metadata.to_bytes()})
    return out / ROOT_NAME


class Signers:
    """The secret keys of some folders.

    Attributes:
        folders: where they lie.
    """

    def __init__(self, folders: list[Path], passphrase: str | None = None) -> None:
        """Read every `.pem` file.

        Args:
            folders: where keys lie.
            passphrase: of those that have one.

        Raises:
            RequestError: a folder holds none, or one cannot be read or decrypted.
        """
        self._by_id: dict[str, CryptoSigner] = {}
        self.folders = folders
        for folder in folders:
            paths = sorted(folder.glob("*.pem"))
            if not paths:
                raise RequestError(f"{folder}: holds no keys; make some with `skyloop-cloud bundles keys --out FOLDER`")
            for path in paths:
                signer = _signer(path, passphrase)
                self._by_id[signer.public_key.keyid] = signer

    def sign(self, metadata: Metadata[T], root: Root, role: str | None = None) -> bytes:
        """The metadata with all signatures that a root asks for.

        Args:
            metadata: to be signed; signatures that it has are kept.
            root: says whose keys count.
            role: which; by default the one of the metadata itself.

        Raises:
            RequestError: fewer keys are here than must sign.
        """
        for signer in self._own(root, role or metadata.signed.type):
            metadata.sign(signer, append=True)
        content: bytes = metadata.to_bytes()
        return content

    def require(self, root: Root, *roles: str) -> None:
        """Nothing where enough keys of these roles are here.

        Raises:
            RequestError: they are not.
        """
        for role in roles:
            self._own(root, role)

    def _own(self, root: Root, role: str) -> list[CryptoSigner]:
        wanted = root.roles[role]
        own = [self._by_id[keyid] for keyid in wanted.keyids if keyid in self._by_id]
        if len(own) < wanted.threshold:
            names = ", ".join(str(folder) for folder in self.folders)
            raise RequestError(
                f"{len(own)} of the {wanted.threshold} keys that must sign as {role} are in {names}; "
                "add the folder of the others with another --keys"
            )
        return own


def expiry(role: str, days: int | None = None) -> datetime:
    """Until when what is signed now counts, UTC, whole seconds.

    Raises:
        RequestError: that is no time to come.
    """
    days = LIFE_DAYS[role] if days is None else days
    if not 1 <= days <= 3650:
        raise RequestError(f"{days} days: give 1 to 3650")
    return (datetime.now(timezone.utc) + timedelta(days=days)).replace(microsecond=0)


def read_first_root(folders: list[Path]) -> bytes:
    """The `root.json` beside the keys.

    Raises:
        RequestError: none of the folders holds one.
    """
    for folder in folders:
        if (folder / ROOT_NAME).is_file():
            return (folder / ROOT_NAME).read_bytes()
    raise RequestError(f"{folders[0]}: holds no {ROOT_NAME}; give the folder that `skyloop-cloud bundles keys` made")


def _pem(signer: CryptoSigner, passphrase: str | None) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(signer.private_bytes, None)
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _signer(path: Path, passphrase: str | None) -> CryptoSigner:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    try:
        if path.stat().st_mode & 0o077:
            raise RequestError(f"{path}: others may read it; run `chmod 600 {path}`")
        key: Ed25519PrivateKey = load_pem_private_key(path.read_bytes(), passphrase.encode() if passphrase else None)  # type: ignore[assignment]
        return CryptoSigner(key)
    except TypeError as exc:  # it has a passphrase and none was given, or the other way round
        how = "has no passphrase, and one was given" if passphrase else "has a passphrase; give it"
        raise RequestError(f"{path}: {how} (--passphrase-file)") from exc
    except (ValueError, OSError) as exc:
        raise RequestError(f"{path}: cannot be read as a key; is the passphrase right?") from exc


def _write_all(out: Path, files: dict[str, bytes]) -> None:
    try:
        make_folder(out)
        for name, content in files.items():
            handle = os.open(out / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644 if name == ROOT_NAME else 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(handle)
        sync_folder(out)
    except OSError as exc:
        raise RequestError(f"{out}: cannot be written ({exc.strerror}); check the folder") from exc
