"""The module's table against a plain list, with every access of memory checked by the compiler."""

import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_MODULE = _ROOT / "sinks" / "dedup_module"
_FLAGS = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror"]
_CHECKED = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
_STEPS = 40_000


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler, so there is no module either")
    program = tmp_path_factory.mktemp("native") / "claim_table_fuzz"
    sources = [_ROOT / "tests" / "native" / "claim_table_fuzz.c", _MODULE / "table.c"]
    subprocess.run(
        ["cc", *_FLAGS, *_CHECKED, f"-I{_MODULE}", "-o", program, *sources], check=True, timeout=120
    )
    return program


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_table_holds_what_a_list_holds(fuzz: Path, seed: int) -> None:
    done = subprocess.run(
        [fuzz, str(seed), str(_STEPS)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("6000 entries"), "it was filled"
