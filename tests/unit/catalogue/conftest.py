import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest
from misbehaving_server import Handler, Served


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served()
    handler = type("OneHandler", (Handler,), {"served": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
