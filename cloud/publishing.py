"""From a bundle's folder to the registry: gates, what flies of it, its canaries, signatures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cloud.canaries import make_canaries
from cloud.errors import RequestError
from cloud.parity import check_publishable
from cloud.registry import PublishedBundle, Registry
from cloud.signing_keys import Signers, read_first_root
from edge.bundle import MANIFEST_NAME, Manifest, check_file, load_bundle, read_manifest
from edge.bundle_archive import flown_files
from edge.canary import CANARY_NAME, pack_canaries
from edge.errors import ModelError, UpdateError
from edge.student import Student
from protocols.values import Chip


def publish(
    registry: Registry,
    folder: Path,
    signers: Signers,
    *,
    variants: Sequence[str] = (),
    chips: Iterable[Chip] = (),
    note: str = "",
) -> PublishedBundle:
    """Sign a bundle and put it into the registry.

    Args:
        registry: made where there is none yet, under the `root.json` beside the keys.
        folder: the bundle.
        signers: with keys of targets, snapshot and timestamp.
        variants: the files to publish; none named are all but engines.
        chips: of prompts in force, for the canaries.
        note: for people.

    Raises:
        RequestError: it is no bundle, a gate refuses it, or keys are missing.
        CloudError: the registry cannot be written.
    """
    try:
        manifest = read_manifest(folder)
        shipped = _shipped(manifest, variants)
        check_publishable(manifest, shipped.variants)
        for entry in (*shipped.variants.values(), *shipped.extras.values()):
            check_file(folder, entry)
        twin = Student.open(load_bundle(folder, "fp32" if "fp32" in shipped.variants else next(iter(shipped.variants))))
        files = flown_files(folder, shipped)
        files[MANIFEST_NAME] = (shipped.model_dump_json(indent=1) + "\n").encode()
        files[CANARY_NAME] = pack_canaries(make_canaries(twin, chips))
    except (ModelError, UpdateError) as exc:
        raise RequestError(str(exc)) from exc
    if not registry.timestamp_path.exists():
        registry.begin(read_first_root(signers.folders), signers)
    return registry.publish(files, shipped, signers, note)


def _shipped(manifest: Manifest, variants: Sequence[str]) -> Manifest:
    """The manifest with the variants to publish, and without papers that stay on the ground."""
    if missing := sorted(set(variants) - set(manifest.variants)):
        raise RequestError(f"the bundle has no {', '.join(missing)}, but {', '.join(manifest.variants)}")
    names = variants or [name for name, entry in manifest.variants.items() if not entry.runs_on]
    kept = {name: entry for name, entry in manifest.variants.items() if name in names}
    if not kept:
        raise RequestError("the bundle has no file that any machine can run")
    return manifest.model_copy(update={"variants": kept, "files": {}})
