"""What is compiled is kept for exactly these sources."""

from pathlib import Path

import numba
import pytest

from metering import compiled


def test_what_is_compiled_is_kept_in_a_folder_of_these_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "metering"
    sources.mkdir()
    (sources / "numbers.py").write_text("FIRST = 1\n")
    monkeypatch.setattr(compiled, "_ROOT", tmp_path)
    monkeypatch.setattr(compiled, "_PLACES", (str(tmp_path / "cache"),))
    before = compiled._folder()
    assert compiled._folder() == before
    (sources / "numbers.py").write_text("FIRST = 2\n")
    assert compiled._folder() != before


def test_a_place_that_cannot_be_written_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    places = (str(tmp_path / "file"), str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "_PLACES", places)
    assert compiled._folder().startswith(str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "_PLACES", places[:1])
    assert not compiled._folder()


def test_older_results_are_forgotten_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_PLACES", (str(tmp_path),))
    kept = Path(compiled._folder())
    (kept.parent / "older").mkdir()
    (tmp_path / "of somebody else").mkdir()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(kept))
    compiled.forget_older()
    assert kept.is_dir()
    assert not (kept.parent / "older").exists()
    assert (tmp_path / "of somebody else").exists()
