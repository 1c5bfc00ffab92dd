import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from misbehaving_server import Served, cut, give, head, send, status

from admlops.catalogue.download import Surroundings, WantedFile, download
from admlops.catalogue.transfer import Connection, RetryConfig
from admlops.errors import ConfigError, DataError, ServiceError

CONTENT = random.Random(7).randbytes(3_000_000)  # noqa: S311 - no secret
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RETRY = RetryConfig(max_tries=3, first_wait_s=0.0, connect_timeout_s=2, read_timeout_s=0.5)


class Waits:
    """Takes the place of sleeping, and remembers for how long."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    def __call__(self, wait_s: float) -> None:
        self.waits_s.append(wait_s)


@pytest.fixture
def connection() -> Iterator[Connection]:
    opened = Connection(RETRY)
    yield opened
    opened.close()


@pytest.fixture
def around() -> Surroundings:
    return Surroundings(retry=RETRY, sleep=Waits())


@pytest.fixture
def wanted(served: Served, tmp_path: Path) -> WantedFile:
    return WantedFile(served.put("/a.bin", CONTENT), tmp_path / "a.bin", len(CONTENT))


def leftovers(wanted: WantedFile) -> list[str]:
    return sorted(path.name for path in wanted.path.parent.iterdir())


def test_a_file_comes_whole_and_once(served, wanted, connection, around) -> None:
    assert download(wanted, connection, around) == SHA256
    assert wanted.path.read_bytes() == CONTENT
    assert leftovers(wanted) == ["a.bin"]
    assert served.asked[0]["Accept-Encoding"] == "identity"
    assert download(wanted, connection, around) == SHA256
    assert len(served.asked) == 1


def test_dropped_connections_are_continued(served, wanted, connection, around) -> None:
    served.script += [cut(1_000_000), cut(0), cut(700_001), cut(1)]
    assert download(wanted, connection, around) == SHA256
    starts = [int(asked.get("Range", "bytes=0-")[6:-1]) for asked in served.asked]
    assert starts == [0, 1_000_000, 1_000_000, 1_700_001, 1_700_002]
    assert {asked.get("If-Range") for asked in served.asked[1:]} == {'"v1"'}


def test_a_server_without_ranges_is_asked_from_the_start(
    served, wanted, connection, around
) -> None:
    served.ranges = False
    served.script += [cut(2_000_000), cut(1_999_999)]
    assert download(wanted, connection, around) == SHA256
    assert wanted.path.read_bytes() == CONTENT


def test_a_server_that_never_gets_further_is_given_up(served, wanted, connection, around) -> None:
    served.ranges = False
    served.script += [cut(2_000_000)] * 9
    with pytest.raises(ServiceError, match=r"gave up after 3 tries .* at byte 2000000"):
        download(wanted, connection, around)
    assert len(served.asked) == 4
    assert leftovers(wanted) == ["a.bin.part", "a.bin.part.json"]


def test_a_changed_file_starts_anew(served, wanted, connection, around) -> None:
    def change(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
        give(handler, content, start, 1_000_000)
        served.put("/a.bin", CONTENT[::-1], '"v2"')

    served.script.append(change)
    assert download(wanted, connection, around) == hashlib.sha256(CONTENT[::-1]).hexdigest()
    assert wanted.path.read_bytes() == CONTENT[::-1]


def test_a_changed_file_is_noticed_without_if_range(served, wanted, connection, around) -> None:
    def ignore_condition(handler: BaseHTTPRequestHandler, *_: object) -> None:
        given = int(handler.headers["Range"][6:-1])
        give(handler, CONTENT[::-1], given, ETag='"v2"')

    served.script += [cut(1_000_000), ignore_condition]
    assert download(wanted, connection, around) == SHA256
    assert "Range" not in served.asked[2]


def test_pieces_that_do_not_fit_are_fetched_once_more(served, wanted, connection, around) -> None:
    """Nothing but the digest tells that the second piece is of another file."""
    served.etags.clear()
    wrong = WantedFile(wanted.url, wanted.path, len(CONTENT), "sha256", SHA256)
    served.script += [cut(1_000_000), lambda h, _c, s: give(h, bytes(len(CONTENT)), s)]
    assert download(wrong, connection, around) == SHA256
    assert [asked.get("Range") for asked in served.asked] == [None, "bytes=1000000-", None]


def test_without_etag_and_digest_nothing_is_continued(served, wanted, connection, around) -> None:
    served.etags.clear()
    served.script += [cut(1_000_000)]
    assert download(wanted, connection, around) == SHA256
    assert "Range" not in served.asked[1]


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_wrong_bytes_are_refused(served, wanted, connection, around, algorithm: str) -> None:
    digest = hashlib.new(algorithm, CONTENT, usedforsecurity=False).hexdigest()
    checked = WantedFile(wanted.url, wanted.path, len(CONTENT), algorithm, digest)
    served.put("/a.bin", CONTENT[:-1] + b"?")
    with pytest.raises(DataError, match=f"its {algorithm} is .*, published is {digest}"):
        download(checked, connection, around)
    assert leftovers(wanted) == []
    served.put("/a.bin", CONTENT)
    download(checked, connection, around)
    assert wanted.path.read_bytes() == CONTENT


def test_a_damaged_file_of_before_is_fetched_again(wanted, connection, around) -> None:
    wanted.path.write_bytes(b"?")
    assert download(wanted, connection, around) == SHA256


def test_another_size_than_published_is_refused_at_once(served, wanted, connection, around) -> None:
    served.put("/a.bin", CONTENT + b"!")
    with pytest.raises(DataError, match="offers 3000001 bytes, 3000000 are expected"):
        download(wanted, connection, around)


def test_a_length_that_is_too_small_cuts_the_file(served, wanted, connection, around) -> None:
    short = WantedFile(wanted.url, wanted.path, None, "sha256", SHA256)
    served.script += [lambda h, c, s: give(h, c, s, 100, Content_Length="100")]
    with pytest.raises(DataError, match="published is"):
        download(short, connection, around)


def test_a_length_that_is_too_large_is_an_interruption(served, wanted, connection, around) -> None:
    unknown = WantedFile(wanted.url, wanted.path)
    served.script += [cut(len(CONTENT), Content_Length="3000005")]
    assert download(unknown, connection, around) == SHA256


@pytest.mark.parametrize("length", ["-5", "many", ""])
def test_a_length_that_is_no_number_counts_for_nothing(
    served, wanted, connection, around, length: str
) -> None:
    served.script += [cut(len(CONTENT), Content_Length=length, Connection="close")]
    assert download(wanted, connection, around) == SHA256


def test_endless_bytes_are_stopped_at_the_published_size(
    served, wanted, connection, around
) -> None:
    def pour(handler: BaseHTTPRequestHandler, content: bytes, _: int) -> None:
        head(handler, 200, {"Connection": "close"})
        handler.close_connection = True
        try:
            for _ in range(100):
                handler.wfile.write(content)
        except OSError:
            pass

    served.script += [pour]
    with pytest.raises(DataError, match="more than the 3,000,000 bytes"):
        download(wanted, connection, around)
    served.script += [pour]
    roomy = Surroundings(RETRY, free_bytes=lambda _: (64 << 20) + 5_000_000)
    with pytest.raises(DataError, match="more than the 5,000,000 bytes"):
        download(WantedFile(wanted.url, wanted.path), connection, roomy)


def test_a_full_disk_is_noticed_before(wanted, connection) -> None:
    full = Surroundings(RETRY, free_bytes=lambda _: len(CONTENT))
    with pytest.raises(DataError, match="3,000,000 bytes are missing and 3,000,000 are free"):
        download(wanted, connection, full)


def test_busy_servers_are_waited_for(served, wanted, connection) -> None:
    patient = Surroundings(
        RetryConfig(max_tries=5, first_wait_s=1, longest_wait_s=7), sleep=(waits := Waits())
    )
    served.script += [status(429, Retry_After="5"), status(503, Retry_After="900"), status(500)]
    served.script += [status(502, Retry_After="soon")]
    assert download(wanted, connection, patient) == SHA256
    assert waits.waits_s == [5.0, 7.0, 4.0, 7.0]


@pytest.mark.parametrize(
    ("code", "match"), [(404, "answered 404; look"), (401, "register"), (403, "token_variable")]
)
def test_refusals_are_not_repeated(
    served, wanted, connection, around, code: int, match: str
) -> None:
    served.script += [status(code)]
    with pytest.raises(ServiceError, match=match):
        download(wanted, connection, around)
    assert len(served.asked) == 1


def test_a_server_that_stays_broken_is_given_up(served, wanted, connection, around) -> None:
    served.script += [status(500)] * 5
    with pytest.raises(ServiceError, match="gave up after 3 tries"):
        download(wanted, connection, around)
    assert len(served.asked) == 3


def test_silence_is_an_interruption(served, wanted, connection, around) -> None:
    def fall_silent(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
        give(handler, content, start, 1000)
        handler.wfile.flush()
        time.sleep(0.8)

    served.script += [fall_silent]
    assert download(wanted, connection, around) == SHA256
    assert served.asked[1]["Range"] == "bytes=1000-"


def test_no_server_at_all(tmp_path: Path, connection, around) -> None:
    with pytest.raises(ServiceError, match="no answer"):
        download(WantedFile("http://127.0.0.1:9/a", tmp_path / "a"), connection, around)


def test_a_page_is_no_file(served, wanted, connection, around) -> None:
    served.script += [lambda h, _c, _s: send(h, 200, b"<html>", {"Content-Type": "text/html"})]
    with pytest.raises(DataError, match="a page came instead of a file"):
        download(wanted, connection, around)


def test_a_range_that_was_not_asked_for(served, wanted, connection, around) -> None:
    served.script += [cut(10), lambda h, c, _s: give(h, c, 20)]
    with pytest.raises(ServiceError, match="asked for the bytes from 10 on, got those from 20 on"):
        download(wanted, connection, around)


def test_redirects_are_followed_and_circles_are_not(served, wanted, connection, around) -> None:
    served.script += [status(302, Location="/there")]
    served.put("/there", CONTENT)
    assert download(wanted, connection, around) == SHA256
    wanted.path.unlink()
    served.script += [status(302, Location="/a.bin")] * 20
    with pytest.raises(ServiceError, match="redirects"):
        download(wanted, connection, around)


def test_a_token_stays_with_its_host(served, wanted, around) -> None:
    other = served.url.replace("127.0.0.1", "localhost")
    served.script += [status(302, Location=other + "/a.bin")]
    with_token = Connection(RETRY, token="secret-value")  # noqa: S106 - the test's own
    download(wanted, with_token, around)
    assert served.asked[0]["Authorization"] == "Bearer secret-value"
    assert "Authorization" not in served.asked[1]
    with pytest.raises(ConfigError, match="not sent over plain http"):
        download(WantedFile("http://example.com/a", wanted.path.with_name("b")), with_token, around)
    with_token.close()


def test_a_note_of_another_address_is_not_taken_up(wanted, connection, around) -> None:
    note = {"url": "http://elsewhere/a", "etag": '"v1"', "last_modified": "", "num_bytes": 1}
    wanted.path.with_name("a.bin.part").write_bytes(b"other")
    wanted.path.with_name("a.bin.part.json").write_text(json.dumps(note))
    assert download(wanted, connection, around) == SHA256


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"etag": 1'])
def test_a_broken_note_is_not_taken_up(wanted, connection, around, note: str) -> None:
    wanted.path.with_name("a.bin.part").write_bytes(b"other")
    wanted.path.with_name("a.bin.part.json").write_text(note)
    assert download(wanted, connection, around) == SHA256


def test_all_came_but_the_end_was_not_seen(wanted, connection, around) -> None:
    """Killed after the last byte: the server has nothing more to give."""
    note = {"url": wanted.url, "etag": '"v1"', "last_modified": "", "num_bytes": len(CONTENT)}
    wanted.path.with_name("a.bin.part").write_bytes(CONTENT)
    wanted.path.with_name("a.bin.part.json").write_text(json.dumps(note))
    assert download(wanted, connection, around) == SHA256


CHILD = """
import sys
from pathlib import Path
from admlops.catalogue.download import Surroundings, WantedFile, download
from admlops.catalogue.transfer import Connection, RetryConfig
retry = RetryConfig()
download(WantedFile(sys.argv[1], Path(sys.argv[2])), Connection(retry), Surroundings(retry))
"""


def test_killed_and_run_again(served, wanted, connection, around) -> None:
    def trickle(handler: BaseHTTPRequestHandler, content: bytes, start: int) -> None:
        give(handler, content, start, 1_500_000)
        handler.wfile.flush()
        time.sleep(5)

    served.script += [trickle]
    command = [sys.executable, "-c", CHILD, wanted.url, str(wanted.path)]
    child = subprocess.Popen(command)
    part = wanted.path.with_name("a.bin.part")
    deadline = time.monotonic() + 20
    while not (part.is_file() and part.stat().st_size == 1_500_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert download(wanted, connection, around) == SHA256
    assert served.asked[-1]["Range"] == "bytes=1500000-"
    assert wanted.path.read_bytes() == CONTENT
