"""Every bound of the wire in one place, each with its reason.

A bound is checked before memory is taken for the thing it bounds. Raising one is a change of the protocol:
the other side may run an older version.
"""

from __future__ import annotations

PROTOCOL_VERSION = 1
"""The `v` of every header. Fields may be added within a version; a changed meaning needs a new one."""

# --- messages ---

MAX_MESSAGE_BYTES = 64 * 1024
"""ZMQ_MAXMSGSIZE, per frame: libzmq drops a peer that sends more, before we see a byte of it."""

MAX_HEADER_BYTES = 48 * 1024
"""Largest msgpack header. Holds a case with MAX_CASE_DETECTIONS worst-case ASCII detections."""

CHUNK_BYTES = 16 * 1024
"""Largest blob that every peer takes. One takes a second at 128 kbit/s: a heartbeat or a prompt never waits longer."""

MAX_CHUNK_BYTES = 128 * 1024
"""Largest blob of a CaseChunk or CaseOffer, to a cloud whose Welcome says that it takes that: a common case whole."""

MAX_CLOUD_MESSAGE_BYTES = MAX_CHUNK_BYTES + 1024
"""ZMQ_MAXMSGSIZE of such a cloud, with room for what encryption adds."""

OPEN_CASES = 4
"""Unfinished cases of one craft that every cloud holds at a time."""

MAX_OPEN_CASES = 1024
"""Most that a Welcome may tell of."""

MAX_ARRAY_ITEMS = 1024
"""Longest msgpack array; the unpacker allocates for the announced length before it sees the items."""

MAX_MAP_ITEMS = 128
"""Most entries of a msgpack map: the largest model has about 20 fields, the rest is room for later ones."""

MAX_CASE_BYTES = 4 * 1024 * 1024
"""Largest imagery of one case: over four minutes at 128 kbit/s, more than one pass is worth spending."""

MAX_OPEN_BYTES = OPEN_CASES * MAX_CASE_BYTES
"""Imagery of one craft's unfinished cases, counted whole: four of the largest, or 32 of half a megabyte."""

MAX_UPDATE_BYTES = 1024 * 1024
"""Largest packed bank change; about a minute at 128 kbit/s."""

MAX_BANK_BYTES = MAX_UPDATE_BYTES - 32 * 1024
"""Largest canonical prompt bank, so that a snapshot of any valid bank fits one update with its envelope."""

MAX_BUNDLE_BYTES = 64 * 1024 * 1024
"""Largest archive of a bundle: half an hour at 256 kbit/s. The bundled student takes 3 MB with all its files."""

MAX_BUNDLE_METADATA_BYTES = 256 * 1024
"""Signed metadata of one offer: some hundred published bundles, and as many changes of the root's keys as a craft may
have missed."""

MAX_KINDS = 64
"""Kinds one side may list in Hello or Welcome; v1 has 17 and reserves 1."""

MAX_DETAIL_CHARS = 200
"""Text of a Problem or the reason in a receipt: enough for value, limit and cure."""

MAX_CREDIT_BYTES = 64 * 1024 * 1024
"""Most bytes a peer may allow in flight: 16 cases of the largest size."""

# --- names ---

MAX_ID_CHARS = 64
"""Ids we make ourselves (prompt, boot, session, epoch, update): a uuid or a sha256 in hex fits."""

MAX_LABEL_CHARS = 64
"""A class name that fits on a screen and in a detection."""

MAX_LABELS = 256
"""Labels a student may know: the largest common detection vocabulary in remote sensing has far fewer."""

MAX_TEXT_CHARS = 128
"""Free short text: software versions, source ids, interpreter names."""

# --- values ---

MAX_CASE_DETECTIONS = 200
"""Detections in one case or interpretation: at up to 240 bytes each they stay inside MAX_HEADER_BYTES."""

MAX_CASE_PARTS = 8
"""Pictures in one case: more would cost more than the whole frame, and a teacher looks at each."""

MAX_REASONS = 16
"""Named parts of a hardness score."""

MAX_POLYGON_POINTS = 64
"""Corners of one mask polygon: a person does not click more, and a teacher's mask simplifies well to it."""

MAX_POLYGON_NUMBERS = 3072
"""Coordinates of all polygons of one interpretation: 27 KiB of the header."""

MAX_PROMPTS = 64
"""Prompts in one bank: matching is a product of every prompt vector with every cell of each frame."""

MAX_POSITIVES = 8
"""Positive vectors of one prompt."""

MAX_NEGATIVES = 24
"""Negative vectors of one prompt."""

MAX_DIRECTION_CASES = 1000
"""Cases that one direction counts as the mean of; each further one still moves it by a thousandth."""

MAX_CHIPS = 8
"""Exemplar chips of one prompt: one per positive vector, to rebuild it on another backend or bundle."""

MAX_CHIP_BYTES = 8 * 1024
"""One chip as JPEG: about 128 px square with its margin."""

MAX_TARGET_CHIPS = 4
"""Looks of a target that one question shows: its first one, and some of the newest."""

MAX_TARGET_CHIP_BYTES = 16 * 1024
"""All of them together, in the header of one CaseOffer: the rest of MAX_HEADER_BYTES is the case's."""

MAX_EMBEDDING_DIM = 96
"""Length of an embedding vector; the student's embedding output is never wider."""

MAX_REVISION = 2**53
"""Counters stay exact in a double, for readers that have no 64-bit integers."""

MAX_TARGETS = 16
"""Targets one craft follows at a time: five run at 49 frames/s on one core at 1280x720 (docs/tracking.md)."""

MAX_REFINEMENTS = 4
"""Times that one case may be asked for again: the frame is gone after some seconds anyway."""

# --- imagery ---

MAX_IMAGE_SIDE_PX = 16384
"""Longest side of an image that is encoded or decoded (WebP's own limit is 16383)."""

MAX_IMAGE_PIXELS = 64 * 1024 * 1024
"""64 Mpx: 192 MiB as RGB. A small file can announce far more (a decompression bomb)."""

MAX_RAW_BANDS = 512
"""Bands of raw imagery; hyperspectral cameras have 200 to 450."""

MAX_RAW_BYTES = 256 * 1024 * 1024
"""Largest raw image array, whatever its bands and number type."""

MAX_FRAME_SIDE_PX = 2**17
"""Longest side of a frame as captured: a satellite strip is larger than any image we send of it."""

MAX_COORD_PX = 2**20
"""Largest pixel coordinate: float32 still tells sixteenths of a pixel apart there."""

# --- time ---

DEFAULT_HEARTBEAT_S = 1.0
"""A lost link is noticed within a few of these; 60 bytes per second are little even on satcom."""

MIN_HEARTBEAT_S = 0.05
"""Shorter would be a way to flood the peer."""

MAX_HEARTBEAT_S = 600.0
"""Longer would hide a dead link for a whole contact window."""

MAX_WALL_TIME_S = 1e11
"""Unix seconds beyond the year 5000 are a unit mistake (milliseconds)."""

MAX_DURATION_S = 366 * 86400.0
"""Longest time to live or retry delay; a year is for ever on a mission."""
