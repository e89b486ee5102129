from pathlib import Path
from types import SimpleNamespace

import pytest

from clockmill.room import cramped


def leave(monkeypatch: pytest.MonkeyPatch, **free: int) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free.get(Path(path).name, 10**9)))


def test_room_enough_is_not_worth_a_word(tmp_path: Path) -> None:
    assert cramped([tmp_path]) == ""


def test_the_first_full_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("logs", "data"):
        (tmp_path / name).mkdir()
    leave(monkeypatch, data=4096)
    assert cramped([tmp_path / "logs", tmp_path / "data"]) == f"no room in {tmp_path / 'data'}: 4K left"


def test_a_folder_that_is_not_made_yet_has_the_room_of_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "var").mkdir()
    leave(monkeypatch, var=0)
    assert cramped([tmp_path / "var" / "logs"]) == f"no room in {tmp_path / 'var' / 'logs'}: 0K left"
