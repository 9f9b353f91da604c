"""Settings of the cloud service: the file of `skyloop-cloud serve --config`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from cloud.account_shelf import Role
from cloud.admission import AdmissionSettings
from cloud.gateway_settings import GatewaySettings
from cloud.retention_settings import RetentionSettings
from edge.config import Settings, first_problem, read_toml
from edge.errors import ConfigError
from protocols import limits


class PromptSettings(Settings):
    """When a prompt is made, and how its form and threshold are chosen.

    Attributes:
        min_score: the teacher's score from which one of its detections makes a prompt. On five rendered flights 209 of
            the bundled teacher's 227 finds of debris at 0.25 and above were right, 180 of 190 at 0.5 and above.
        form: how a prompt holds what it knows: `prototypes`, a `direction`, or what a replay finds better.
        floor: no threshold of prototypes lies below; unrelated things reach about this cosine. Replayed on five
            rendered flights, 0.60 found 0.76 of the debris at 0.09 false alarms a frame, 0.50 found 0.77 at 0.21.
        ceiling: no threshold of prototypes lies above: other instances of the same kind are rarely more alike, and
            negatives keep the background away.
        background_quantile: which of the background's similarities counts as its highest; at 50 candidates a frame
            0.95 is two or three false alarms, before the negatives take theirs away.
        positive_quantile: which of the true similarities must still match.
        share: where the threshold lies between the two, 0 at the background.
        min_separation: least distance between the two; a closer pair makes no prompt by a teacher alone.
        background_cases: recent cases of a craft whose background every new prompt must stay clear of.
        false_per_box: false alarms in its own case, for each box found there, that a prompt may raise.
        false_per_frame: false alarms an image, before overlaps are removed, that a prompt may leave when it is replayed
            on the background of its own case and of `background_cases` others. A threshold that leaves more is raised;
            where it would no longer find its own thing, a teacher's prompt is refused and a person's finds little else.
            What a teacher missed counts as background: on three rendered flights its prompts, merged case by case,
            found 0.775 of the debris with 8 as without a bound, 0.758 with 2 and 0.681 with 1, all at 0.004 real false
            alarms a frame. On HIT-UAV 8 costs five shots 0.001 of AP50 on dev, and 16 changes none of forty prompts.
            Lower it where little is missed and alarms are dear.
        temperature: of prototypes, see `Prompt`.
        direction_floor: no threshold of a direction lies below; its cosines are lower than those of prototypes, whose
            means still hold the background's. Replayed on five rendered flights, 0.42 found 0.81 of the debris at 0.05
            false alarms a frame, 0.40 found 0.81 at 0.06 and 0.45 found 0.80 at 0.04.
        direction_ceiling: the background of other cases raises no threshold of a direction further: where it is much
            alike in a few, thresholds rise far over what false alarms ask for. On the same flights, over a floor of
            0.45, 0.45 found 0.80 at 0.04 and 0.50 found 0.77 at 0.04. A case of its own may ask for more.
        direction_temperature: of directions: their cosines spread wider. On HIT-UAV dev, five shots reached AP50 0.102
            with 0.10 and 0.097 with 0.07.
        max_bytes: of one prompt with its chips.
    """

    min_score: float = Field(default=0.25, ge=0, le=1)
    form: Literal["replayed", "prototypes", "direction"] = "replayed"
    floor: float = Field(default=0.6, ge=-1, le=1)
    ceiling: float = Field(default=0.66, ge=-1, le=1)
    background_quantile: float = Field(default=0.95, ge=0, le=1)
    positive_quantile: float = Field(default=0.5, ge=0, le=1)
    share: float = Field(default=0.25, ge=0, le=1)
    min_separation: float = Field(default=0.02, ge=-1, le=1)
    background_cases: int = Field(default=8, ge=0, le=100)
    false_per_box: int = Field(default=2, ge=0, le=100)
    false_per_frame: float = Field(default=16.0, ge=0, le=200)
    temperature: float = Field(default=0.07, gt=0, le=10)
    direction_floor: float = Field(default=0.42, ge=-1, le=1)
    direction_ceiling: float = Field(default=0.45, ge=-1, le=1)
    direction_temperature: float = Field(default=0.1, gt=0, le=10)
    max_bytes: int = Field(default=24_000, ge=2_000, le=limits.MAX_UPDATE_BYTES)


class TargetAnswerSettings(Settings):
    """How places are weighed where a craft asks for its target; chosen on rendered sequences (docs/tracking.md).

    Attributes:
        reach: standard deviation of the distance from the believed place, in units of the target's size; four times as
            much for a target that is lost, which may be anywhere in the picture.
        growth: standard deviation of the logarithm of its size.
        named_iou: overlap with a detection from which that names a place.
        other_name: factor of a place that the teacher names otherwise than the craft.
        prompted: factor of a place that a prompt of the target's label matches.
        likely, surely: least weighed score of an answer where the craft believes the target gone, and where it is sure
            of another place; in between in proportion to its presence.
        clearly: how much better than the next place it must be, as a share of its score.
        nothing: score, weighed by size alone, under which nothing there is like the target.
    """

    reach: float = Field(default=3.0, gt=0)
    growth: float = Field(default=0.4, gt=0)
    named_iou: float = Field(default=0.4, ge=0, le=1)
    other_name: float = Field(default=0.5, ge=0, le=1)
    prompted: float = Field(default=1.25, ge=1)
    likely: float = Field(default=0.1, ge=0, le=1)
    surely: float = Field(default=0.7, ge=0, le=1)
    clearly: float = Field(default=0.2, ge=0, le=1)
    nothing: float = Field(default=0.05, ge=0, le=1)


class RefineSettings(Settings):
    """When the craft is asked for a better picture of a case; a person may ask at any time.

    Attributes:
        most: times that a case is asked for again without a person; 0 never asks.
        floor: detections below are nothing, however good a picture.
        coarse_below: quality of the encoder under which it may be why the teacher is unsure.
        quality: of the JPEG that is asked for.
        side_px: least side of its region.
        fresh_s: after a case came in, so long the craft may still hold its frame (four seconds as delivered, of which
            the case's own way took some).
    """

    most: int = Field(default=1, ge=0, le=limits.MAX_REFINEMENTS)
    floor: float = Field(default=0.15, ge=0, le=1)
    coarse_below: int = Field(default=60, ge=0, le=100)
    quality: int = Field(default=90, ge=1, le=100)
    side_px: int = Field(default=192, ge=32, le=4096)
    fresh_s: float = Field(default=3.0, ge=0, le=60)


class WebSettings(Settings):
    """How people and programs reach the console and the HTTP API.

    Attributes:
        login_s: so long after its last use a browser stays logged in.
        proxy_user_header: header in which a reverse proxy says who it has let in, such as `X-Forwarded-User`; None
            believes no header.
        proxies: addresses of reverse proxies; the headers of anybody else are ignored. From these, `X-Forwarded-Proto`
            (whether the log-in cookie is marked `Secure`) and the last hop of `X-Forwarded-For` (whose wrong passwords
            are counted) are believed even without `proxy_user_header`. Loopback is there as delivered, for these two
            let nobody in: a process of this machine that forges them spoils its own cookie, or guesses as if from
            several places. The proxy must set both, and strip `proxy_user_header` from what it passes on.
        proxy_role: role of people whom the proxy lets in and who have no account here; None refuses them.
        tls_cert, tls_key: PEM files to speak TLS with; without them put a proxy in front of anything but loopback.
    """

    login_s: float = Field(default=12 * 3600.0, gt=0, le=90 * 86400.0)
    proxy_user_header: str | None = None
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    proxy_role: Role | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


class CloudSettings(GatewaySettings):
    """Everything `skyloop-cloud serve` can be told, the gateway's settings among it; options win over the file.

    Attributes:
        bind: where crafts connect. All interfaces is safe: only enrolled keys get in.
        http: host:port of the console, the HTTP API, /healthz, /readyz and /metrics; the last three ask nobody who
            they are.
        data: folder of the case store.
        keys: folder with cloud.key and cloud.pub; None is `keys` inside the data folder.
        teacher: `bundled`, the folder of a bundle, an ONNX detector (`.onnx`, its `.toml` beside it), a `.toml` that
            names `transformers` models, or a plug-in's `NAME` or `NAME:TEXT` (docs/teachers.md).
        students: further student bundles that crafts fly; the bundled one is always known.
        threads: ONNX Runtime threads, 0 for all cores.
        max_batch: cases one run of the teacher takes at most.
        max_batch_pixels: of the pictures of one run, three bytes each, for up to five runs at a time. A larger picture
            goes alone.
        max_wait_s: how long an idle teacher waits at most for more cases to share its run, where that pays.
        admission: when cases are refused for now.
        unsure_below: a teacher's answer of less confidence is left for a person.
        unexplained_objectness: something the twin is this sure of and the teacher does not name is left for a person.
        unexplained_overlap: IoU with a teacher's box from which it counts as named.
        prompts: how prompts are made.
        targets: how questions about targets are answered.
        refine: when the craft is asked for a better picture.
        web: log-ins, and how a reverse proxy or TLS guards them.
        retention: how long and how much is kept.
        poll_s: how often the work of other processes (reviews, revocations) is looked for.
    """

    bind: str = "tcp://0.0.0.0:7600"
    http: str = "127.0.0.1:7601"
    data: Path = Path("skyloop-data")
    keys: Path | None = None
    teacher: str = "bundled"
    students: tuple[Path, ...] = ()
    threads: int = Field(default=0, ge=0, le=1024)
    max_batch: int = Field(default=8, ge=1, le=256)
    max_batch_pixels: int = Field(default=32_000_000, ge=1, le=10**9)
    max_wait_s: float = Field(default=0.02, ge=0, le=10)
    admission: AdmissionSettings = AdmissionSettings()
    unsure_below: float = Field(default=0.5, ge=0, le=1)
    unexplained_objectness: float = Field(default=0.5, ge=0, le=1)
    unexplained_overlap: float = Field(default=0.1, ge=0, le=1)
    prompts: PromptSettings = PromptSettings()
    targets: TargetAnswerSettings = TargetAnswerSettings()
    refine: RefineSettings = RefineSettings()
    web: WebSettings = WebSettings()
    retention: RetentionSettings = RetentionSettings()
    poll_s: float = Field(default=0.2, gt=0, le=10)

    @property
    def keys_folder(self) -> Path:
        """Where the server's key pair lies."""
        return self.keys or self.data / "keys"


def read_settings(path: Path | None, given: dict[str, Any] | None = None) -> CloudSettings:
    """Settings of a file, or the defaults, with options over them.

    Args:
        path: of the TOML file.
        given: fields that win over the file's.

    Raises:
        ConfigError: the file or a field is bad.
    """
    base = read_toml(path, CloudSettings) if path else CloudSettings()
    try:
        return CloudSettings.model_validate({**base.model_dump(), **(given or {})})
    except ValidationError as exc:
        raise ConfigError(first_problem(exc)) from exc
