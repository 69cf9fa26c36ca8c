from __future__ import annotations

import os
import sys
import time
import uuid
from pathlib import Path

from azurelab.guests.process import find_by_word, spawn


def test_a_spawned_process_has_its_own_session_is_found_by_its_word_and_ends(tmp_path: Path) -> None:
    word = f"unix:/{uuid.uuid4()}"
    process = spawn([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)", word], tmp_path / "log")

    assert os.getsid(process.pid) == process.pid
    assert process.alive()
    deadline = time.monotonic() + 10
    while not (found := find_by_word(word[:20])) and time.monotonic() < deadline:
        time.sleep(0.01)  # its command line can be read a moment after it was spawned
    assert [other.pid for other in found.values()] == [process.pid]
    assert list(found) == [word]

    process.kill()
    assert process.wait(10)
    assert process.wait(0)
    process.kill()
    assert find_by_word(word) == {}
    assert (tmp_path / "log").read_text() in ("1\n", "")
