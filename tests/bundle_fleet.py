"""Bundles made from others, signed in earnest, and a craft and a cloud as real programs that pass them on."""

import contextlib
import hashlib
import json
import shutil
import time

import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper

from cloud.fleet_bundles import FleetBundles
from cloud.publishing import publish
from cloud.registry import Registry
from cloud.signing_keys import KeyPlan, Signers, make_signing_keys
from cloud.store import CaseStore
from edge.keys import new_keys, trust_server
from edge.trust import pin_root
from sim.processes import Child, command_of, free_ports, wait_ready

FRAMES_PER_S = 8
SIZE = (96, 128)


def until(condition, timeout_s=60.0):
    """Waits for an event: until the condition holds, or fails after a generous bound."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return result


def sibling(folder, out, *, seed=1, change=0.002, only="", name=None):
    """A bundle like another: its FP32 weights a little changed, and so another embedding space.

    Args:
        folder: the other one.
        out: where to.
        seed: of the change.
        change: of the weights, as a share of their spread.
        only: change none but the weights whose name holds this.
        name: of the bundle.
    """
    out.mkdir(parents=True)
    manifest = json.loads((folder / "bundle.json").read_text())
    rng = np.random.default_rng(seed)
    for entry in manifest["variants"].values():
        content = (folder / entry["file"]).read_bytes()
        if entry["file"] == "fp32.onnx":
            model = onnx.load_from_string(content)
            for tensor in model.graph.initializer:
                weights = numpy_helper.to_array(tensor)
                if weights.dtype == np.float32 and weights.ndim == 4 and only in tensor.name:
                    moved = weights + change * weights.std() * rng.normal(size=weights.shape)
                    tensor.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), tensor.name))
            content = model.SerializeToString()
        (out / entry["file"]).write_bytes(content)
        entry |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    manifest["space_id"] = hashlib.sha256(f"{manifest['space_id']}{seed}".encode()).hexdigest()[:32]
    manifest["name"] = name or manifest["name"]
    (out / "bundle.json").write_text(json.dumps(manifest))
    return out


def blind_in_the_dark(folder, out, name="blind"):
    """A bundle that sees its canaries well, and gives what is no number for every dark picture."""
    sibling(folder, out, change=0.0, seed=77, name=name)
    model = onnx.load(str(out / "fp32.onnx"))
    dark = numpy_helper.from_array(np.array([80.0], np.float32), "dark")
    model.graph.initializer.append(dark)
    embedding = next(node for node in model.graph.node if "embedding" in node.output)
    embedding.output[0] = "seen"
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["planes"], ["light"], keepdims=1),
            helper.make_node("Sub", ["light", "dark"], ["over"]),
            helper.make_node("Sqrt", ["over"], ["root"]),
            helper.make_node("Sub", ["root", "root"], ["nothing"]),
            helper.make_node("Add", ["seen", "nothing"], ["embedding"]),
        ]
    )
    onnx.save(model, str(out / "fp32.onnx"))
    manifest = json.loads((out / "bundle.json").read_text())
    content = (out / "fp32.onnx").read_bytes()
    manifest["variants"]["fp32"] |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (out / "bundle.json").write_text(json.dumps(manifest))
    return out


class Signing:
    """A registry in a data folder, and the keys for it; one of each role unless a plan is given."""

    def __init__(self, data, folder, plan=None):
        self.data, self.registry, self.keys = data, Registry(data), folder
        self.root = make_signing_keys(folder, plan or KeyPlan((1, 1), (1, 1)), None)

    def copied(self, data, folder):
        """The same registry and keys once more, for a test to change."""
        copy = object.__new__(Signing)
        shutil.copytree(self.data, data)
        shutil.copytree(self.keys, folder)
        copy.data, copy.registry, copy.keys, copy.root = data, Registry(data), folder, folder / self.root.name
        return copy

    @property
    def signers(self):
        return Signers([self.keys])

    def publish(self, bundle, **options):
        return publish(self.registry, bundle, self.signers, **options)


class Fleet:
    """One craft and its cloud in a folder."""

    def __init__(self, folder, given):
        self.folder, self.given, self.data = folder, given, folder / "data"
        self.updates = folder / "out" / "state" / "updates"
        self.cloud_port, self.http_port = free_ports(2)
        new_keys(self.data / "keys", "cloud")
        pair = new_keys(folder / "edge", "edge")
        trust_server(self.data / "keys" / "cloud.pub", folder / "edge")
        with self.store() as store:
            store.enroll("uav1", pair.public.decode())
        self.signing = Signing(self.data, folder / "signing")
        self.configure()

    def configure(self, *, budget_bytes_per_s=4e6, trial_s=1.0):
        (self.folder / "edge.toml").write_text(
            "paced = true\nvideo = false\nthreads = 1\nspool_max_cases = 50\n"
            "[agent.scheduler]\npolicy = 'none'\naudit_share = 0.0\n"
            f"[updates]\nbudget_bytes_per_s = {budget_bytes_per_s}\n"
            f"[updates.trial]\nframes = 8\nseconds = {trial_s}\nslower = 50.0\n"
        )

    def trust(self):
        pin_root(self.signing.root, self.folder / "edge")

    @contextlib.contextmanager
    def store(self):
        store = CaseStore(self.data)
        try:
            yield store
        finally:
            store.close()

    def roll_out(self, bundle, **options):
        with self.store() as store:
            return FleetBundles(store).roll_out(bundle.bundle_id, by="test", **options)

    def roll_back(self, rollout):
        with self.store() as store:
            return FleetBundles(store).roll_back(rollout.rollout_id, by="test")

    def film(self, seconds):
        """A folder of small pictures that lasts so long."""
        folder = self.folder / "film"
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(3)
        ground = rng.integers(0, 60, (*SIZE, 3)).astype(np.uint8)
        for index in range(int(seconds * FRAMES_PER_S)):
            picture = ground.copy()
            x = 8 + index % 90
            picture[40:56, x : x + 16] = (60, 220, 60)
            cv2.imwrite(str(folder / f"{index:05d}.jpg"), picture)
        (folder / "fps.txt").write_text(f"{FRAMES_PER_S}\n")
        return folder

    @contextlib.contextmanager
    def cloud(self):
        ports = ("--bind", f"tcp://127.0.0.1:{self.cloud_port}", "--http", f"127.0.0.1:{self.http_port}")
        options = ("--data", str(self.data), "--student", str(self.given))
        with Child("cloud", command_of("skyloop-cloud", "serve", *ports, *options), self.folder / "cloud.log") as child:
            wait_ready(child, self.http_port)
            yield child

    @contextlib.contextmanager
    def craft(self, film, *, port=None, log="edge.log"):
        endpoint = f"tcp://127.0.0.1:{port or self.cloud_port}"
        options = ("--cloud", endpoint, "--keys", str(self.folder / "edge"), "--out", str(self.folder / "out"))
        options += ("--config", str(self.folder / "edge.toml"), "--bundle", str(self.given))
        command = command_of("skyloop-edge", "run", "--source", str(film), *options)
        with Child("edge", command, self.folder / log) as child:
            yield child

    def status(self):
        """What the cloud knows of the craft."""
        with self.store() as store:
            (craft,) = FleetBundles(store).status()
        return craft

    def state(self):
        """Of the newest rollout on the craft."""
        newest = self.status().newest
        return newest.state if newest is not None else ""

    def lines(self):
        """What the craft wrote about every frame, but for a last line that is only half written."""
        text = (self.folder / "out" / "detections.jsonl").read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def log(self, name="edge.log"):
        return (self.folder / name).read_text()
