"""`holdfast disk` as a program: every end has its exit code and its words, and none of them is a traceback."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli import disk_verbs
from holdfast.cli.disk_verbs import VERBS, run_verb
from holdfast.cli.main import main
from holdfast.disks.errors import ListExists, NoSpaceLeft, SourceChanged, WireBroken

MIB = 1 << 20
PROGRAM = [sys.executable, "-c", "from holdfast.cli.main import program; program()", "disk"]
needs_qemu = pytest.mark.skipif(shutil.which("qemu-nbd") is None, reason="qemu-utils are not installed")
# Lines are buffered, as they are for users: this may be set where tests run.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.raw").write_bytes(os.urandom(3 * MIB) + bytes(MIB))
    (tmp_path / "folder").mkdir()
    (tmp_path / "round").symlink_to("round")
    return tmp_path


# Root may do everything; without these capabilities it may do what others may.
AS_OTHERS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []


def run(folder: Path, *words: object, **how: Any) -> subprocess.CompletedProcess[str]:
    """The program, in that folder."""
    how = {"capture_output": True, "stdin": subprocess.DEVNULL, "env": ENVIRONMENT} | how
    done = subprocess.run(
        [*how.pop("under", []), *PROGRAM, *map(str, words)], cwd=folder, text=True, timeout=60, check=False, **how
    )
    assert "Traceback" not in (done.stderr or "")
    assert "Exception ignored" not in (done.stderr or "")
    return done


def in_shell(folder: Path, line: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which $disk is the program."""
    words = [sys.executable, "-c", "'from holdfast.cli.main import program; program()'", "disk"]
    line = f"set -o pipefail; {line.replace('$disk', ' '.join(words))}"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder, text=True, timeout=60, check=False, capture_output=True, env=ENVIRONMENT | more,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


def refused(folder: Path, *words: object, exit_code: int | None = None, **how: Any) -> dict[str, Any]:
    """The error of a command with --json: the one document on standard output."""
    done = run(folder, *words, "--json", **how)
    error: dict[str, Any] = json.loads(done.stdout)["error"]
    assert done.returncode == (exit_code if exit_code is not None else done.returncode)
    assert done.returncode not in (0, None)
    assert error["text"]
    assert error["remedy"]
    return error


# -- what the system says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb", ["copy {} t.raw", "copy s.raw {} --overwrite", "info {}", "digest {}", "diff s.raw {}"]
)
@pytest.mark.parametrize("where", ["folder", "round", "n" * 300 + ".raw", "s.raw/x.raw"])
def test_paths_that_no_disk_can_have_are_typed_errors(folder: Path, verb: str, where: str) -> None:
    declared = ["--from", "raw"] if "{} t" in verb else []

    error = refused(folder, *verb.format(where).split(), *declared)

    assert error["code"] in ("disk.usage", "disk.system_refused", "disk.not_found", "disk.write_failed")
    assert not (folder / "t.raw").exists()


@pytest.mark.parametrize("option", ["--digests", "--base", "--changed"])
def test_folders_in_place_of_lists_are_refused_by_name(folder: Path, option: str) -> None:
    error = refused(folder, "copy", "s.raw", "t.raw", option, "folder", exit_code=2)

    assert (error["code"], error["field"]) == ("disk.usage", option[2:])


@pytest.mark.parametrize(("option", "kind"), [("--base", "digest list"), ("--changed", "change list")])
def test_lists_that_are_not_there_are_not_called_disks(folder: Path, option: str, kind: str) -> None:
    error = refused(folder, "copy", "s.raw", "t.raw", option, "absent", exit_code=3)

    assert error["text"] == f"There is no {kind} at absent."
    assert error["field"] == option[2:]


@pytest.mark.skipif(bool(AS_OTHERS) and shutil.which("setpriv") is None, reason="root cannot be kept from anything")
@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("info closed.raw", "disk"),
        ("copy closed.raw open/t.raw", "source"),
        ("copy s.raw t.raw", "target"),
        ("copy s.raw open/t.raw --digests L", "digests"),
        ("copy s.raw open/t.raw --changed closed.raw", "changed"),
        ("convert s.raw t.ova", "target"),
        ("digest s.raw L", "digests"),
    ],
)
def test_what_is_not_permitted_is_said_with_its_path(folder: Path, words: str, field: str) -> None:
    (folder / "closed.raw").write_bytes(bytes(4096))
    (folder / "closed.raw").chmod(0)
    (folder / "open").mkdir()
    folder.chmod(0o555)
    try:
        error = refused(folder, *words.split(), exit_code=1, under=AS_OTHERS)
    finally:
        folder.chmod(0o755)

    assert error["code"] in ("disk.system_refused", "disk.write_failed")
    assert "Permission denied" in error["text"]
    assert error["field"] == field


def test_a_file_that_may_not_become_so_large_says_so(folder: Path) -> None:
    done = run(
        folder, "copy", "s.raw", "t.raw", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
    )

    assert done.returncode == 1
    assert "File too large" in done.stderr


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (PermissionError(13, "Permission denied", "t.raw"), "disk.system_refused", "Permission denied: t.raw"),
        (OSError(30, "Read-only file system", "t.raw.unfinished"), "disk.system_refused", "Read-only file system"),
        (OSError("no number"), "disk.system_refused", "no number"),
        (BrokenPipeError(32, "Broken pipe"), "disk.system_refused", "Broken pipe"),
        (RecursionError("too deep"), "internal.unexpected", "RecursionError: too deep"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "no"), "internal.unexpected", "UnicodeEncodeError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_whatever_a_verb_raises_is_shown_as_a_typed_error(
    failure: Exception, code: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> int:
        raise failure

    verb = VERBS["copy"]._replace(run=fail)
    given = {"as_json": True, "source": "s.raw", "target": "t.raw"}

    assert run_verb(verb, given) == 1
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert (error["code"], err) == (code, "")
    assert words in error["text"]
    assert error["field"] == ("target" if "t.raw" in str(failure) else None)

    monkeypatch.setenv("HOLDFAST_TRACEBACK", "1")
    assert run_verb(verb, given | {"as_json": False}) == 1
    assert "Traceback" in capsys.readouterr().err


# -- streams that are closed or full --------------------------------------------------------------------------------

ANSWERS = ["info s.raw", "info s.raw --json", "digest s.raw", "diff s.raw s.raw", "copy s.raw t.raw --json"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [*ANSWERS, "--help", "copy --help"])
def test_full_output_is_a_failure_that_standard_error_tells(folder: Path, words: str, unbuffered: str) -> None:
    done = in_shell(folder, f"$disk {words} > /dev/full", PYTHONUNBUFFERED=unbuffered)

    assert done.returncode == 1
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("words", [*ANSWERS, "--help"])
@pytest.mark.parametrize("closed", ["| true", ">&-"])
def test_output_that_nobody_reads_ends_it_without_a_word(folder: Path, words: str, closed: str) -> None:
    line = f"( sleep 0.2; $disk {words} ) {closed}" if closed == "| true" else f"$disk {words} {closed}"

    done = in_shell(folder, line)

    assert done.returncode in ((1, 141) if "help" in words else (141,))
    assert done.stderr == ""


def test_a_disk_for_a_reader_who_went_away_ends_without_a_word(folder: Path) -> None:
    for kind in ("raw", "ova", "vmdk-stream"):
        done = in_shell(folder, f"$disk convert s.raw - --format {kind} | head -c 9 > /dev/null")
        assert (done.returncode, done.stderr) == (141, ""), kind


@pytest.mark.parametrize("words", ["info absent.raw --json", "info absent.raw --json --from raw"])
def test_an_error_keeps_its_code_where_its_words_find_no_room(folder: Path, words: str) -> None:
    done = in_shell(folder, f"$disk {words} > /dev/full")

    assert done.returncode == 3
    assert "There is no disk at absent.raw." in done.stderr


@pytest.mark.parametrize("lost", ["2> /dev/full", "2>&-"])
def test_what_standard_error_does_not_take_changes_nothing(folder: Path, lost: str) -> None:
    told = in_shell(folder, f"$disk copy s.raw t.raw --digests L {lost}")
    json_told = in_shell(folder, f"$disk copy s.raw t2.raw --json {lost}")

    assert (told.returncode, told.stdout) == (0, "")
    assert (json_told.returncode, json.loads(json_told.stdout)["size_bytes"]) == (0, 4 * MIB)
    assert (folder / "t.raw").read_bytes() == (folder / "t2.raw").read_bytes() == (folder / "s.raw").read_bytes()


def test_a_terminal_that_is_closed_fails_no_copy(folder: Path) -> None:
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [*PROGRAM, "copy", "s.raw", "t.raw", "--limit-rate", "1M"], cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=theirs, start_new_session=True,
        env=ENVIRONMENT | {"TERM": "xterm", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"copy" not in shown:
        shown += os.read(ours, 4096)
    os.close(ours)

    assert child.wait(timeout=60) == 0
    assert (folder / "t.raw").read_bytes() == (folder / "s.raw").read_bytes()


def test_no_disk_is_opened_in_place_of_a_closed_stream(folder: Path) -> None:
    done = in_shell(folder, "$disk copy s.raw t.raw --digests L <&- >&- 2>&-")

    assert done.returncode == 0
    assert (folder / "t.raw").read_bytes() == (folder / "s.raw").read_bytes()


def test_closed_standard_input_is_no_empty_disk(folder: Path) -> None:
    done = in_shell(folder, "$disk convert - x.raw --json <&-")

    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["field"] == "source"
    assert not list(folder.glob("x.raw*"))
    assert in_shell(folder, "$disk --help <&-").returncode == 0


def test_names_that_are_no_text_here_are_shown_anyhow(folder: Path) -> None:
    strange = os.fsencode(folder) + b"/n\xff\xc3\xa9.raw"
    shutil.copy(folder / "s.raw", strange)
    environment = ENVIRONMENT | {"PYTHONIOENCODING": "ascii:strict"}

    for words in (["info"], ["info", "--json"], ["digest"], ["digest", "L"], ["copy", "t.raw", "--digests", "M"]):
        line = [*PROGRAM, words[0], strange, *words[1:]]
        done = subprocess.run(line, cwd=folder, capture_output=True, timeout=60, env=environment, check=False)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    line = [*PROGRAM, "info", strange + b"\xfe"]
    assert subprocess.run(line, capture_output=True, timeout=60, env=environment, check=False).returncode == 3


# -- signals --------------------------------------------------------------------------------------------------------


def stopped(
    folder: Path, words: list[str], number: int, ready: Callable[[], bool], **how: Any
) -> tuple[int, dict[str, Any]]:
    """Run it with --json until it is at work, and stop it: exit code and error."""
    child = subprocess.Popen(
        [*PROGRAM, *words, "--json"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT | how.pop("env", {}), **{"stdin": subprocess.DEVNULL} | how,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not ready():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(number)
    try:
        child.wait(timeout=80)  # qemu-nbd loses a SIGTERM that comes while its last client leaves
    finally:
        child.kill()
    assert child.stdout is not None
    assert child.stderr is not None
    out, err = child.stdout.read(), child.stderr.read()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
    assert err == ""
    return child.returncode, json.loads(out)["error"]


@pytest.mark.parametrize(
    ("number", "exit_code", "name"),
    [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGHUP"), (signal.SIGINT, 130, "Ctrl-C")],
)
def test_a_stopped_conversion_tidies_up_and_says_that_it_starts_over(
    folder: Path, number: int, exit_code: int, name: str
) -> None:
    unfinished = folder / "x.raw.unfinished"

    outlet, inlet = os.pipe()
    os.write(inlet, b"x" * 4096)

    def at_work() -> bool:
        return unfinished.exists() and unfinished.stat().st_size > 0

    code, error = stopped(folder, ["convert", "-", "x.raw"], number, at_work, stdin=outlet)
    os.close(outlet)
    os.close(inlet)

    assert code == exit_code
    assert error["text"].startswith(f"Stopped by {name};")
    assert "it starts over" in error["remedy"]
    assert not unfinished.exists()


@needs_qemu
def test_a_stopped_copy_into_an_image_leaves_no_folder_of_its_server(folder: Path) -> None:
    servers, written = folder / "folder", folder / "t.vdi.unfinished"
    words = ["copy", "s.raw", "t.vdi", "--limit-rate", "1M", "--digests", "L"]

    code, error = stopped(
        folder,
        words,
        signal.SIGTERM,
        lambda: written.exists() and written.stat().st_size > 2 * MIB,
        env={"TMPDIR": str(servers)},
    )

    assert (code, error["code"]) == (143, "stopped")
    assert "it resumes" in error["remedy"]
    assert list(servers.iterdir()) == []


def test_a_stopped_copy_with_a_list_is_resumed_by_the_same_command(folder: Path) -> None:
    with open(folder / "s.raw", "wb") as file:  # a little in each of many windows: some are done before others
        for at in range(40):
            file.seek(at * 16 * MIB)
            file.write(os.urandom(65536))
    words = ["copy", "s.raw", "t.raw", "--digests", "L"]
    unfinished = folder / "t.raw.unfinished"

    code, error = stopped(
        folder,
        [*words, "--limit-rate", "512K"],
        signal.SIGTERM,
        lambda: unfinished.exists() and unfinished.stat().st_blocks * 512 >= 10 * 65536,
    )
    again = run(folder, *words, "--json")

    assert (code, error["code"]) == (143, "stopped")
    report = json.loads(again.stdout)
    assert report["resumed"] is True
    assert report["skipped_bytes"] > 0
    assert (folder / "t.raw").read_bytes() == (folder / "s.raw").read_bytes()


def test_signals_that_are_ignored_stay_so_and_those_of_others_are_given_back(folder: Path) -> None:
    seen: list[Any] = []

    def look(**_: Any) -> int:
        seen.extend(signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM))
        return 0

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_verb(VERBS["info"]._replace(run=look), {"as_json": True}) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen[0] is signal.SIG_IGN
    assert callable(seen[1])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_second_signal_does_not_disturb_the_tidying_up(capsys: pytest.CaptureFixture[str]) -> None:
    tidied: list[bool] = []

    def work(**_: Any) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            tidied.append(True)
        return 0

    assert run_verb(VERBS["info"]._replace(run=work), {"as_json": True}) == 143
    assert tidied
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "stopped"


# -- what is promised of the same command ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "lists", "promise"),
    [
        ("copy", {"digests": "L"}, "it resumes"),
        ("copy", {"base": "L"}, "it resumes"),
        ("copy", {"digests": None, "base": None}, "it starts over"),
        ("convert", {}, "it starts over"),
        ("digest", {"digests": "L"}, "it starts over"),
        ("verify", {"digests": "L"}, "it starts over"),
        ("diff", {}, "it starts over"),
    ],
)
def test_only_copies_with_a_list_are_said_to_resume(
    verb: str, lists: dict[str, Any], promise: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failures: list[BaseException] = [
        NoSpaceLeft(name="t", offset=0, size_bytes=1), WireBroken(name="t", problem="gone"), KeyboardInterrupt(),
    ]  # fmt: skip
    for failure in failures:

        def fail(failure: BaseException = failure, **_: Any) -> int:
            raise failure

        assert run_verb(VERBS[verb]._replace(run=fail), {"as_json": False, **lists}) in (1, 130)
        told = capsys.readouterr().err
        assert f"un the same command again; {promise}." in told


def test_a_changed_source_is_read_anew_where_no_list_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(**_: Any) -> int:
        raise SourceChanged(name="s")

    for lists, words in (({"base": "L"}, "only what changed is copied"), ({}, "it starts over")):
        run_verb(VERBS["copy"]._replace(run=fail), {"as_json": False, **lists})
        assert words in capsys.readouterr().err


def test_a_finished_list_is_not_answered_with_what_was_done(folder: Path) -> None:
    error = ListExists(name="L")

    assert (error.code, error.about, error.exit_code) == ("disk.list_exists", "digests", 4)
    assert "--base LIST" in error.advice
    assert "--overwrite" in error.advice


# -- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["0", "-1", "-5M", "1", "63K", "2T", "9" * 400, "fast", "0.0", "1e9"])
def test_rates_that_are_none_are_refused(folder: Path, rate: str) -> None:
    error = refused(folder, "copy", "s.raw", "t.raw", f"--limit-rate={rate}", exit_code=2)

    assert (error["code"], error["field"]) == ("disk.usage", "limit-rate")
    assert not list(folder.glob("t.raw*"))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ('{"since": "a", "now": "b", "extents": [{"start": "x", "end": 1}]}', "whole numbers"),
        ('{"since": "a", "now": "b", "extents": [{"start": 0.5, "end": 1}]}', "whole numbers"),
        ('{"since": "a", "now": "b", "extents": [{"start": true, "end": 1}]}', "whole numbers"),
        ('{"since": "a", "now": "b", "extents": [{"start": -1, "end": 1}]}', "before the disk"),
        ('{"since": "a", "now": "b", "extents": [{"start": 9, "end": 1}]}', "ends before it starts"),
        ('{"since": "a", "now": "b", "extents": [{"start": 9, "end": 1' + "0" * 30 + "}]}", "past the end of any disk"),
        ('{"since": "a", "now": "b", "extents": [{"start": 0, "end": 1, "zero": "no"}]}', "true or false"),
        ('{"since": "a", "now": "b", "extents": [[0, 1]]}', "extent 1 in c.json is no object"),
        ('{"since": "a", "now": "b", "extents": {"start": 0}}', "has no list 'extents'"),
        ('{"since": "a", "now": "b"}', "has no list 'extents'"),
        ('{"since": null, "now": "b", "extents": []}', "'since'"),
        ('{"since": "a", "extents": []}', "'now'"),
        ("[1, 2]", "holds no object"),
        ("7", "holds no object"),
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_change_files_that_say_nothing_are_refused_in_plain_words(folder: Path, told: str, words: str) -> None:
    (folder / "c.json").write_text(told)

    error = refused(folder, "copy", "s.raw", "t.raw", "--changed", "c.json", exit_code=2)

    assert (error["code"], error["field"]) == ("disk.usage", "changed")
    assert words in error["text"]
    assert "indices" not in error["text"]


def test_extents_of_two_kinds_at_one_place_are_taken(folder: Path) -> None:
    run(folder, "copy", "s.raw", "t.raw", "--digests", "L", "--chain", "a")
    twice = [{"start": 0, "end": 65536, "zero": zero} for zero in (True, False)]
    (folder / "c.json").write_text(json.dumps({"since": "a", "now": "b", "extents": twice}))

    done = run(folder, "copy", "s.raw", "t.raw", "--base", "L", "--changed", "c.json", "--json")

    assert done.returncode == 0
    assert "list of changes" in json.loads(done.stdout)["why"]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("copy s.raw t.raw --digests L --verify bogus", "verify"),
        ("copy s.raw t.raw --from bogus", "from"),
        ("copy s.raw t.raw --to ova", "to"),
        ("convert s.raw t.raw --format bogus", "format"),
        ("convert s.raw t.qcow2 --compress lzma", "compress"),
        ("copy s.raw t.raw --digests=-L", "digests"),
        ("copy s.raw t.raw --base=-L", "base"),
        ("copy s.raw t.raw --digests --json", "digests"),
        ("copy s.raw t.raw --chain --json", "chain"),
        ("digest s.raw -- -L", "digests"),
        ("copy s.raw t.raw --from page-blob", "source"),
        ("copy s.raw t.raw --to nbd", "target"),
        ("info https://127.0.0.1:1/x?sig=SECRET --from raw", "disk"),
        ("copy s.raw -", "target"),
        ("copy - t.raw", "source"),
        ("digest -", "disk"),
        ("diff - s.raw", "one"),
        ("diff s.raw -", "other"),
        ("verify - --digests L", "disk"),
        ("info -", "disk"),
        ("convert - x.raw --from qcow2", "from"),
    ],
)
def test_words_that_mean_nothing_here_are_refused_by_name(folder: Path, words: str, field: str) -> None:
    before = sorted(path.name for path in folder.iterdir())
    asked = "--json" in words  # where a value belongs; it is meant all the same
    verb, _, rest = words.partition(" ")

    done = run(folder, verb, *([] if asked else ["--json"]), *rest.split())

    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"], error["field"]) == (2, "disk.usage", field)
    assert "SECRET" not in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_file_whose_name_is_a_dash_is_reached_by_its_path(folder: Path) -> None:
    shutil.copy(folder / "s.raw", folder / "-")

    assert run(folder, "digest", "./-", "./-L", "--from", "raw").returncode == 0
    assert (folder / "-L").exists()


def test_every_end_of_the_full_command_line_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(**_: Any) -> int:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(disk_verbs.VERBS, "info", VERBS["info"]._replace(run=interrupt))
        assert main(["disk", "info", "s.raw", "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "stopped"


@pytest.mark.parametrize(
    "words",
    [
        "verify s.raw --digests {url}",
        "copy s.raw t.raw --base {url}",
        "copy s.raw t.raw --digests {url}",
        "digest s.raw {url}",
        "copy s.raw t.raw --digests L --changed {url}",
        "info {url} --from qcow2",
        "info {url} --from page-blob",
    ],
)
@pytest.mark.parametrize("url", ["https://127.0.0.1:1/d?sig=SECRETSECRET", "https:/127.0.0.1:1/d?sig=SECRETSECRET"])
def test_addresses_in_the_place_of_files_do_not_tell_their_secret(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, url: str
) -> None:
    monkeypatch.chdir(folder)

    code = main(["disk", *words.format(url=url).split()])

    assert code == 2 if "info" not in words else code != 0
    assert "SECRET" not in "".join(capsys.readouterr())


def test_what_nobody_expected_does_not_tell_the_secret_of_an_address(
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = "https://host/d?sig=SECRETSECRET"

    def broken(**_: object) -> int:
        raise ValueError(f"cannot split {url}, or sig=SECRETSECRET")

    assert run_verb(VERBS["info"]._replace(run=broken), {"disk": url, "from_": None, "as_json": False}) == 1
    said = "".join(capsys.readouterr())
    assert "SECRET" not in said
    assert "ValueError" in said
