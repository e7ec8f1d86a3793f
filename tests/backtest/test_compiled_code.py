"""Compiled code is kept on disk by the file it stands in; what it takes from other files must change that file."""

from __future__ import annotations

from pathlib import Path

import pytest

from fxgpt_core.backtest import exposure, kernels
from fxgpt_core.common.hashing import bytes_hash

FOLDER = Path(kernels.__file__).parent


@pytest.mark.parametrize("stated", [exposure.BUILT_ON, kernels.BUILT_ON], ids=["exposure", "kernels"])
def test_a_change_of_what_is_compiled_in_changes_the_file_that_the_cache_watches(stated: dict[str, str]) -> None:
    found = {name: bytes_hash((FOLDER / f"{name}.py").read_bytes(), 8) for name in stated}
    assert stated == found, f"write BUILT_ON = {found}: else machines with older compiled code keep using it"


def test_every_compiled_module_that_takes_from_another_says_so() -> None:
    for path in FOLDER.parent.rglob("*.py"):
        text = path.read_text()
        if "@njit" not in text:
            continue
        borrowed = [line for line in text.splitlines() if line.startswith("from fxgpt_core")]
        assert not borrowed or "BUILT_ON" in text, f"{path} compiles in what {borrowed} say, without BUILT_ON"
