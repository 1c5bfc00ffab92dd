import pytest

from admlops.errors import ServiceError
from admlops.serving.embedded import _free_ports
from admlops.serving.triton_environment import VENV_VARIABLE, find_triton


def test_absent_installation_names_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv(VENV_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ServiceError, match=r"pip install -r requirements/triton\.txt"):
        find_triton()


def test_free_ports_are_three_different_ones():
    assert len(set(_free_ports((0, 0, 0)))) == 3


def test_a_taken_port_is_named():
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port} "):
            _free_ports((port, 0, 0))
