"""What is noted of bundles on a disk outlives every end of the program."""

import pytest
from bundle_fleet import sibling

from edge.bundle_archive import flown_files, pack_files
from edge.errors import ModelError, UpdateError
from edge.installed_bundles import STATE_NAME, Installed, InstalledBundles, folder_in_use
from protocols import BundleOffer


def offer(number):
    fields = {"metadata_bytes": 1, "metadata_sha256": "0" * 64, "archive_bytes": 1}
    return BundleOffer(offer_id=f"o{number}", bundle_id=f"b-{number}", archive_sha256=f"{number}" * 64, **fields)


@pytest.fixture
def reopen(tmp_path, tiny_bundle):
    return lambda given=tiny_bundle.folder: InstalledBundles(tmp_path / "updates", given)


@pytest.fixture
def unpack(tiny_bundle):
    """Take an offer and unpack its archive, which is the tiny bundle's."""

    def work(installed, number):
        installed.take_offer(offer(number), "boot")
        installed.archive.write_bytes(pack_files(flown_files(tiny_bundle.folder, tiny_bundle.manifest)))
        bundle = Installed(
            bundle_id=f"b-{number}", release=number, archive_sha256=f"{number}" * 64, offer_id=f"o{number}"
        )
        installed.unpack(bundle)
        return bundle

    return work


def folders(installed):
    return sorted(path.name[0] for path in (installed.folder / "bundles").iterdir())


def test_never_more_than_current_previous_and_a_new_one(reopen, unpack):
    installed = reopen()
    for number in (1, 2, 3):
        unpack(installed, number)
        assert not installed.archive.exists()
        installed.begin_trying()
        installed.put_in_use()
        installed.confirm()
    assert folders(installed) == ["2", "3"]
    unpack(installed, 4)
    assert folders(installed) == ["2", "3", "4"]
    installed.refuse("o4", "no good")
    assert folders(reopen()) == ["2", "3"]


def test_bundle_of_the_next_flight_is_told_without_a_change(reopen, unpack, tiny_bundle):
    installed = reopen()
    assert folder_in_use(installed.folder, tiny_bundle.folder) == tiny_bundle.folder
    bundle = unpack(installed, 1)
    installed.begin_trying()
    assert folder_in_use(installed.folder, tiny_bundle.folder) == tiny_bundle.folder
    installed.put_in_use()
    before = (installed.folder / STATE_NAME).read_bytes()
    assert folder_in_use(installed.folder, tiny_bundle.folder) == installed.path_of(bundle)
    assert (installed.folder / STATE_NAME).read_bytes() == before


@pytest.mark.parametrize(("phase", "end"), [("trying", "refused"), ("flying", "gone_back")])
def test_second_death_in_a_trial_ends_it(reopen, unpack, phase, end):
    installed = reopen()
    bundle = unpack(installed, 1)
    installed.begin_trying()
    if phase == "flying":
        installed.put_in_use()
    installed = reopen()
    assert (installed.state.trial.deaths, installed.end_of("o1")) == (1, None)
    assert (installed.state.current or installed.state.candidate) == bundle
    installed = reopen()
    assert installed.end_of("o1").end == end
    assert (installed.state.current, installed.state.candidate, installed.state.trial) == (None, None, None)
    assert "ended 2 times" in installed.end_of("o1").reason


def test_death_while_trying_again_counts_on(reopen, unpack):
    installed = reopen()
    unpack(installed, 1)
    installed.begin_trying()
    installed = reopen()
    installed.begin_trying()
    assert installed.state.trial.deaths == 1


def test_going_back_keeps_the_one_before(reopen, unpack):
    installed = reopen()
    first = unpack(installed, 1)
    installed.put_in_use()
    installed.confirm()
    unpack(installed, 2)
    installed.put_in_use()
    installed.go_back("slow")
    installed = reopen()
    assert (installed.state.current, installed.state.previous) == (first, None)
    assert folders(installed) == ["1"]
    assert installed.path_of(first).is_dir()


def test_what_the_disk_surely_has_of_an_archive_counts_after_a_power_cut(reopen):
    installed = reopen()
    installed.take_offer(offer(1), "boot-1")
    installed.archive.write_bytes(bytes(1000))
    installed.note_fetched(400, "boot-1")
    assert installed.resume_offset("boot-1") == 1000
    assert reopen().resume_offset("boot-2") == 400
    installed.take_offer(offer(2), "boot-1")
    assert (installed.resume_offset("boot-1"), installed.archive.exists()) == (0, False)


def test_damaged_note_flies_what_was_given_by_hand(reopen, unpack):
    installed = reopen()
    unpack(installed, 1)
    installed.put_in_use()
    (installed.folder / STATE_NAME).write_bytes(b"{")
    assert reopen().state.current is None


def test_bundle_that_is_gone_from_the_disk_is_not_flown(reopen, unpack):
    installed = reopen()
    bundle = unpack(installed, 1)
    installed.put_in_use()
    (installed.path_of(bundle) / "bundle.json").unlink()
    assert reopen().state.current is None


def test_another_bundle_given_by_hand_begins_anew(reopen, unpack, tiny_bundle, tmp_path):
    installed = reopen()
    unpack(installed, 1)
    installed.put_in_use()
    assert reopen(sibling(tiny_bundle.folder, tmp_path / "other")).state.current is None


def test_folder_that_cannot_be_made_is_said_in_one_line(tmp_path, tiny_bundle):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "updates").write_text("")
    with pytest.raises(UpdateError, match="cannot be"):
        InstalledBundles(tmp_path / "folder" / "updates", tiny_bundle.folder).refuse("o1", "no")
    with pytest.raises(ModelError, match="give the folder of a bundle"):
        InstalledBundles(tmp_path / "updates", tmp_path / "none")


def test_newest_ends_are_remembered(reopen):
    installed = reopen()
    for number in range(40):
        installed.refuse(f"o{number}", "no")
    assert installed.end_of("o0") is None
    assert reopen().end_of("o39").reason == "no"
