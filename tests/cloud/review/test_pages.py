"""The console's pages: who sees what, and nothing that a craft sends becomes markup."""

import re
import time
from dataclasses import replace

import pytest
from console_people import PASSWORD, words

from cloud import http_guard
from cloud.bundle_shelf import CraftBundle
from cloud.event_shelf import ACCOUNT_EVENTS
from cloud.gateway_settings import CraftLive
from cloud.http_access import COOKIE
from cloud.retention_shelf import Spare
from cloud.watcher import Watcher
from protocols.chips import Chip
from protocols.imagery import encode_image
from protocols.prompts import BankRef
from protocols.target_questions import TargetQuestion
from protocols.values import Detection, FrameHeader, Interpretation, Pose

EVIL = "<script>alert(1)</script>"
SQL = "'; DROP TABLE cases; --"
PAGES = ("/review/", "/review/fleet", "/review/targets", "/review/map", "/review/log")


def add_case(store, painting, craft="uav", **changes):
    case, payload = painting.make_case(painting.paint((50, 50, painting.GREEN)), **changes)
    store.add_cases([(craft, case, payload)])
    return case


def test_stranger_is_sent_to_the_log_in_and_back(console):
    client = console()
    answer = client.get("/review/fleet?a=b", follow_redirects=False)
    assert answer.headers["location"] == "/review/login?next=/review/fleet%3Fa%3Db"
    form = {"name": "nobody", "password": "wrong one here", "next": "/review/fleet?a=b"}
    assert client.post("/review/login", data=form).status_code == 401
    part = client.get("/review/fleet/live", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["HX-Redirect"]) == (401, "/review/login?next=/review/")


@pytest.mark.parametrize("elsewhere", ["https://evil.example/review/", "//evil.example/", "/\\evil.example", "/other"])
def test_log_in_leads_nowhere_else(console, elsewhere):
    client = console()
    console("ann")  # makes the accounts
    form = {"name": "ann", "password": PASSWORD, "next": elsewhere}
    assert client.post("/review/login", data=form, follow_redirects=False).headers["location"] == "/review/"


def test_form_of_a_log_in_that_is_over_stays_and_can_be_sent_after_another(console, open_store, seen_case):
    person = console("ann")
    open_store.close_logins()
    told = person.post(f"/review/cases/uav/{seen_case.case_id}/review", boxes="[]")
    assert (told.status_code, told.headers["HX-Retarget"], "HX-Redirect" in told.headers) == (401, "#notices", False)
    assert 'href="/review/login" target="_blank"' in told.text
    assert "nothing was sent" in words(told)
    assert person.get("/review/alive", **{"HX-Request": "true"}).status_code == 401
    person.client.post("/review/login", data={"name": "ann", "password": PASSWORD})
    alive = person.get("/review/alive").json()
    assert alive["name"] == "ann"
    person.csrf = alive["csrf"]
    assert person.review(seen_case, ("debris", 142, 82, 158, 98)).status_code == 200


def test_log_out(console):
    person = console("ann")
    secret = person.client.cookies[COOKIE]
    assert person.post("/review/logout").url.path == "/review/login"
    person.client.cookies.set(COOKIE, secret)
    assert person.client.get("/review/", follow_redirects=False).status_code == 303


@pytest.mark.parametrize("page", PAGES)
def test_page_carries_its_guards(console, seen_case, page):
    answer = console("vic").get(page)
    assert answer.status_code == 200, answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    assert " style=" not in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize("label", [EVIL, SQL, "100%_\\"])
def test_label_with_markup_or_sql_stays_text(console, open_store, seen_case, painting, label):
    found = Detection(box_xyxy=(42, 42, 58, 58), label=label, score=0.5)
    case = add_case(open_store, painting, detections=(found,))
    person = console("olga")
    answer = person.review(seen_case, (label, 142, 82, 158, 98), makes_prompt="on", prompt_label=label)
    assert answer.status_code == 200
    pages = [*PAGES, f"/review/cases/uav/{case.case_id}", f"/review/cases/uav/{seen_case.case_id}"]
    for page in pages:
        assert EVIL not in person.get(page).text
    shown = person.client.get("/review/", params={"state": "all", "label": label})
    assert case.case_id in shown.text
    assert seen_case.case_id not in shown.text  # what a person called so counts once it is used
    assert open_store.count_cases() == {"uav": 2}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("vic", "/review/cases/uav/{case}/review"),
        ("vic", "/review/cases/uav/{case}/preview"),
        ("vic", "/review/cases/uav/{case}/refine"),
        ("ann", "/review/targets"),
        ("ann", "/review/targets/uav/abcdef/stop"),
        ("ann", "/review/prompts/person-1/revoke"),
    ],
)
def test_role_that_does_not_do_is_told_which_does(console, seen_case, name, path):
    answer = console(name).post(path.format(case=seen_case.case_id))
    assert answer.status_code == 403
    assert "ask an admin for the role" in words(answer)


def test_form_of_another_site_or_log_in_is_refused(console, open_store, seen_case):
    person = console("ann")
    person.csrf = "guessed"
    assert person.review(seen_case).status_code == 403
    assert open_store.reviews() == []


def test_huge_form_is_refused_before_it_is_read(console, seen_case):
    answer = console("ann").post(f"/review/cases/uav/{seen_case.case_id}/review", boxes="x" * 300_000)
    assert answer.status_code == 413
    assert "send less at a time" in answer.text


def test_huge_form_that_does_not_say_so_is_refused_too(console, seen_case):
    person = console("ann")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    parts = (b"boxes=" if number == 0 else b"x" * 10_000 for number in range(40))
    path = f"/review/cases/uav/{seen_case.case_id}/review"
    assert person.client.post(path, content=parts, headers=headers).status_code == 413


def test_pages_over_those_in_work_are_told_to_come_back(console, monkeypatch):
    person = console("ann")
    monkeypatch.setattr(http_guard, "MAX_AT_ONCE", 0)
    monkeypatch.setattr(http_guard, "WAIT_S", 0.1)
    answer = person.get("/review/fleet/live")
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["x-frame-options"]) == (503, "1", "DENY")
    assert answer.headers["hx-retarget"] == "#notices"  # the fleet stays as it was


def test_console_is_found_without_its_last_slash(console):
    client = console()
    assert client.get("/review", follow_redirects=False).headers["location"].endswith("/review/")
    assert client.get("/", follow_redirects=False).headers["location"] == "/review/"


def test_file_is_not_taken(console, seen_case):
    person = console("ann")
    files = {"boxes": ("a.bin", b"x" * 1000)}
    answer = person.client.post(
        f"/review/cases/uav/{seen_case.case_id}/review", data={"csrf": person.csrf}, files=files
    )
    assert answer.status_code == 400


def test_queue_is_ordered_by_worth_and_paged_without_doubles(console, open_store, painting):
    cases = [add_case(open_store, painting, hardness=share / 60) for share in range(60)]
    person, shown, address = console("vic"), [], "/review/?state=stored"
    while address:
        page = person.get(address).text
        shown += [case for case in page.split("/review/cases/uav/") if case[32:33] == "?"]
        address = (
            "/review/?" + page.split('rel="next"')[0].rsplit("/review/?", 1)[1].split('"')[0].replace("&amp;", "&")
            if 'rel="next"' in page
            else None
        )
        add_case(open_store, painting, hardness=1.0)  # new ones come in while somebody reads on
    order = [case[:32] for case in shown]
    assert order == [case.case_id for case in reversed(cases)]


@pytest.mark.parametrize("after", ["x", "1~", "1~2~3", "nan~1", "1~99999999999999999999"])
def test_place_that_is_none_is_refused_in_one_line(console, after):
    answer = console("vic").get(f"/review/?after={after}")
    assert answer.status_code == 422
    assert "is no place in the queue" in words(answer)


def test_queue_is_filtered_by_craft_and_label(console, open_store, painting):
    open_store.enroll("other", "d" * 40)
    debris = Detection(box_xyxy=(42, 42, 58, 58), label="debris", score=0.5)
    mine = add_case(open_store, painting, detections=(debris,))
    theirs = add_case(open_store, painting, craft="other")
    person = console("vic")
    for query, case, none in (("from=uav", mine, theirs), ("from=other", theirs, mine), ("label=debris", mine, theirs)):
        page = person.get(f"/review/?state=all&{query}").text
        assert case.case_id in page
        assert none.case_id not in page


def test_case_page_says_why_it_was_sent_and_leads_on(console, open_store, painting):
    first = add_case(open_store, painting, hardness=0.9, reasons={"unexplained": 0.8, "doubt": 0.1})
    second = add_case(open_store, painting, hardness=0.4)
    person = console("vic")
    queue = person.get("/review/?state=stored").text
    address = queue.split(f"/review/cases/uav/{first.case_id}?")[1].split('"')[0].replace("&amp;", "&")
    page = person.get(f"/review/cases/uav/{first.case_id}?{address}")
    assert "Unexplained 80 %" in words(page)
    assert f"/review/cases/uav/{second.case_id}?" in page.text
    assert "Answering takes the role analyst" in words(page)


def test_picture_is_given_as_sent_and_never_as_anything_else(console, open_store, seen_case):
    person = console("vic")
    answer = person.get(f"/review/cases/uav/{seen_case.case_id}/pictures/0")
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("image/png", "nosniff")
    assert answer.content == open_store.read_imagery(open_store.load_case(seen_case.case_id))
    assert person.get(f"/review/cases/uav/{seen_case.case_id}/pictures/1").status_code == 422
    assert person.get(f"/review/cases/uav/{seen_case.case_id}/pictures/x").status_code == 422
    assert person.get("/review/cases/uav/zz/pictures/0").status_code == 422


def test_picture_that_was_dropped_for_its_age_is_said_to_be_gone(console, open_store, seen_case):
    open_store.set_case_state("uav", seen_case.case_id, "failed", "")
    assert open_store.drop_imagery(Spare(), 9, before_s=time.time() + 1).count == 1
    person, link = console("vic"), f"/review/cases/uav/{seen_case.case_id}"
    for path in ("/review/?state=all", link):
        page = person.get(path)
        assert "The picture was dropped for its age" in words(page)
        assert "/pictures/" not in page.text
    for path in ("/pictures/0", "/similarity/0?box=1,2,3,4"):
        assert person.get(link + path).status_code == 410
    assert "its picture was dropped" in words(person.get("/review/targets"))


def test_similarity_map_is_a_picture_of_the_students_cells(console, seen_case):
    person = console("vic")
    answer = person.get(f"/review/cases/uav/{seen_case.case_id}/similarity/0?box=142,82,16,16")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert float(answer.headers["x-high"]) > 0.99
    nothing = person.get(f"/review/cases/uav/{seen_case.case_id}/similarity/0")
    assert "draw or choose a box first" in words(nothing)


def test_fleet_says_what_is_stale(console, backend, open_store, seen_case):
    person = console("olga")
    page = person.get("/review/fleet")
    assert "uav link down stale Last heard not since the service began" in words(page)
    bank = open_store.bank("uav")
    ref = BankRef(epoch=bank.epoch, revision=bank.revision, digest=bank.digest)
    live = CraftLive(is_online=True, heard_s=time.time(), bytes_received=2_500_000, bank=ref, spool_cases=3)
    app_backend = person.client.app.state.backend
    object.__setattr__(app_backend, "live", lambda: {"uav": live})
    told = words(person.get("/review/fleet/live"))
    assert "link up" in told
    assert "2.5 MB" in told
    assert "revision 0 in force" in told
    assert "3 cases" in told


def test_fleet_says_what_flies_and_what_is_on_its_way(console, open_store, seen_case):
    person = console("vic")

    def bundle():
        return re.search("Bundle (.*) Software", words(person.get("/review/fleet")))[1]

    open_store.set_craft_profile("uav", "0123456789abcdef", "u8s8", ("Person",))
    assert bundle() == "space 0123456789ab u8s8"
    open_store.note_flown("uav", None, 1.0)
    assert bundle() == "as given, space 0123456789ab u8s8"
    open_store.note_flown("uav", "student-6", 2.0)
    first, rollout = (
        open_store.add_rollout(f"student-{n}", percent=100.0, crafts=(), by="olga", now_s=1.0) for n in (6, 7)
    )
    open_store.note_bundle(CraftBundle("uav", first.rollout_id, "student-6", "in_force", "", 100, 100, 3.0))
    assert bundle() == "student-6 u8s8"
    told = CraftBundle("uav", rollout.rollout_id, "student-7", "fetching", "", 43, 100, time.time() - 7300)
    open_store.note_bundle(told)
    assert bundle() == "student-6 u8s8 student-7: fetching 43 % 2 h ago"
    open_store.change_rollout(rollout.rollout_id, state="stopped")
    assert bundle() == "student-6 u8s8"
    open_store.note_bundle(replace(told, state="refused", reason="wrongly <signed>"))
    assert bundle() == "student-6 u8s8 student-7: refused 2 h ago wrongly <signed>"
    open_store.note_bundle(replace(told, state="in_force"))
    open_store.change_rollout(rollout.rollout_id, state="rolled_back")
    assert bundle() == "student-6 u8s8 student-7: to be taken back"


def test_old_result_is_stale_where_cases_came_since(console, open_store, seen_case):
    person = console("vic")
    assert "Newest result none" in words(person.get("/review/fleet"))
    for age_s, is_stale in ((300.0, True), (-1.0, False)):
        answer = Interpretation(
            case_id=seen_case.case_id,
            detections=(),
            confidence=1.0,
            by="person",
            interpreter="ann",
            made_at_s=time.time() - age_s,
        )
        open_store.add_interpretation("uav", answer)
        told = words(person.get("/review/fleet"))
        assert ("stale: cases came since Newest case came in" in told) == is_stale
        assert ("Newest result 5 min ago" in told) == is_stale


def test_prompt_is_revoked_by_an_operator(console, open_store, seen_case, desk, metrics):
    person = console("olga")
    fields = {"makes_prompt": "on", "prompt_label": "debris"}
    person.review(seen_case, ("debris", 142, 82, 158, 98), **fields)
    Watcher(open_store, desk, metrics).look()
    (prompt,) = open_store.bank("uav").prompts
    answer = person.post(f"/review/prompts/{prompt.prompt_id}/revoke")
    assert f"{prompt.prompt_id} is taken back from uav" in words(answer)
    assert open_store.bank("uav").prompts == ()
    assert open_store.events()[0].what == "prompt revoked"
    assert "no bank holds a prompt" in words(person.post(f"/review/prompts/{prompt.prompt_id}/revoke"))


def test_target_is_started_on_the_newest_picture_and_stopped(console, open_store, seen_case):
    person = console("olga")
    assert seen_case.case_id in person.get("/review/targets").text
    fields = {"craft": "uav", "case_id": seen_case.case_id, "label": "boat"}
    answer = person.post("/review/targets", boxes='[{"box":[142,82,158,98],"label":"target","kind":"thing"}]', **fields)
    assert "uav is asked to follow boat" in words(answer)
    (target,) = open_store.targets(time.time())
    assert (target.order.box_xyxy, target.order.seen_in.case_id, target.by) == (
        (142, 82, 158, 98),
        seen_case.case_id,
        "olga",
    )
    assert "is told to stop following boat" in words(person.post(f"/review/targets/uav/{target.key}/stop"))
    assert open_store.targets(time.time())[0].state == "stopped"


@pytest.mark.parametrize(
    "boxes", ["[]", "nonsense", "[1]", '[{"box":[1,2,3]}]', '[{"box":[0,0,20,20],"label":"x"}]', "[" * 3000]
)
def test_target_that_is_no_one_box_is_refused(console, open_store, seen_case, boxes):
    answer = console("olga").post("/review/targets", craft="uav", case_id=seen_case.case_id, boxes=boxes)
    assert answer.status_code == 422, answer.text
    assert open_store.targets(time.time()) == []


def test_map_shows_footprints_where_the_pose_is_known(console, open_store, painting, seen_case):
    pose = Pose(lat_deg=47.0, lon_deg=8.0, yaw_deg=0.0, pitch_deg=-90.0, gsd_m=0.1)
    frame = FrameHeader(index=0, source_id="t", captured_at_s=1.0, width=640, height=512, pose=pose)
    case = add_case(open_store, painting, frame=frame)
    page = console("vic").get("/review/map")
    assert case.case_id in page.text
    assert "-32.0,-25.6 -16.0,-25.6 -16.0,-9.6 -32.0,-9.6" in page.text  # 0.1 m a pixel, left of and above the middle
    assert 'class="foot state-unsure" viewBox' in page.text  # the legend, drawn as the outlines are
    assert "1 more cases do not say where they are" in words(page)


def test_what_is_not_there_is_a_page_that_leads_to_the_queue(console, seen_case):
    person = console("vic")
    for path, text in ((f"cases/uav/{'0' * 32}", "uav has no case 000"), ("nope", "/review/nope is no page")):
        answer = person.get(f"/review/{path}")
        assert answer.status_code == 404
        assert text in words(answer)
        assert 'href="/review/"' in answer.text
    assert "There is no state foo : these are" in words(person.get("/review/?state=foo"))
    assert "There is no state" not in words(person.get("/review/?state=all"))


def test_log_tells_who_did_what_and_pages(console, open_store):
    for number in range(130):
        open_store.note_event("ann", "review", f"case{number}", EVIL)
    person = console("vic")
    page = person.get("/review/log").text
    assert "case129" in page
    assert "case20<" not in page
    assert EVIL not in page
    address = page.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0]
    assert "case5<" in person.get(address).text
    assert "case7<" in person.get("/review/log?about=case7").text


def test_log_of_accounts_is_for_operators(console, open_store):
    for what in ACCOUNT_EVENTS:
        open_store.note_event("root", what, "someone", "from 10.1.2.3")
    open_store.note_event("ann", "review", "case1", "1 debris")
    for name, sees in (("vic", False), ("ann", False), ("olga", True)):
        for path in ("/review/log", "/review/log?about=someone"):
            page = console(name).get(path).text
            assert ("10.1.2.3" in page) == sees
        assert "1 debris" in console(name).get("/review/log").text


def test_question_about_a_target_is_answered_with_a_place_or_that_it_is_not_there(console, open_store, painting):
    chip = Chip(
        jpeg=encode_image(painting.paint((16, 16, painting.GREEN), size=(32, 32)), "image/jpeg"),
        box_xyxy=(8, 8, 24, 24),
        scale=1.0,
    )
    question = TargetQuestion(
        target_id=3, label="boat", box_xyxy=(40, 40, 60, 60), presence=0.3, why="lost", chips=(chip,)
    )
    case = add_case(open_store, painting, target=question)
    person = console("ann")
    assert "Where is target 3 (boat)?" in words(person.get(f"/review/cases/uav/{case.case_id}"))
    ask = {"labels_digest": open_store.craft("uav").labels_digest}
    assert "no box is drawn or confirmed" in words(person.review(case, **ask))
    two = [("boat", 42, 42, 58, 58), ("boat", 62, 42, 78, 58)]
    assert "one thing; leave one box" in words(person.review(case, *two, **ask))
    assert person.review(case, two[0], **ask).status_code == 200
    assert person.review(case, not_there="yes", **ask).status_code == 200
    assert [review.boxes_xyxy for review in open_store.reviews()] == [((42, 42, 58, 58),), ()]
