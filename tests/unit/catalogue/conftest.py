import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest
from misbehaving_server import Handler, Served


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that break off, as they are meant to."""


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served()
    handler = type("OneHandler", (Handler,), {"served": state})
    server = QuietServer(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
