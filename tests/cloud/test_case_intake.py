import asyncio
import contextlib
from types import SimpleNamespace

from builders import make_case

from cloud.admission import Admission, AdmissionSettings
from cloud.case_intake import CaseIntake
from cloud.uploads import GroupCommit, Uploads
from edge.clock import SystemClock
from protocols.limits import MAX_OPEN_BYTES


def test_commit_goes_on_where_waiting_for_it_is_given_up():
    async def run():
        store = SimpleNamespace(add_cases=lambda items: ["stored"] * len(items))
        bound = MAX_OPEN_BYTES
        uploads = Uploads(SystemClock(), max_bytes=bound, max_per_craft=2, max_craft_bytes=bound)
        commits = GroupCommit(store, lambda cases: None)
        told = []
        intake = CaseIntake(
            SimpleNamespace(
                uploads=uploads,
                commits=commits,
                store=store,
                admission=Admission(AdmissionSettings(), SystemClock()),
            ),
            "alpha",
            send=None,
            refuse=None,
            on_duplicate=None,
            on_verdict=lambda: told.append("verdict"),
        )
        await intake.on_offer(make_case(b"imagery"), b"imagery")
        waiting = asyncio.create_task(intake.finish())
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        commits.close()
        await commits.run()
        await asyncio.sleep(0)
        assert waiting.cancelled()
        assert told == ["verdict"]

    asyncio.run(run())
