"""What is said of changes that no test notices, against the code."""

from __future__ import annotations

from tests.mutants.known import known_changes


def test_each_is_still_in_its_file_and_listed_once() -> None:
    known = known_changes()
    assert known
    places = [(one.file, one.before, one.after) for one in known]
    assert sorted(set(places)) == sorted(places)
