"""The package exports what it says, and its border imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import protocols


def test_all_is_sorted_complete_and_real():
    assert len(set(protocols.__all__)) == len(protocols.__all__)
    public = {
        name
        for name, value in vars(protocols).items()
        if not name.startswith("_") and getattr(value, "__name__", "").split(".")[0] != "protocols"
    } - {"annotations"}
    assert public == set(protocols.__all__)


def test_import_stays_free_of_heavy_packages():
    code = (
        "import sys, protocols; heavy = {'torch', 'onnxruntime', 'zmq', 'edge', 'cloud'}; "
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
