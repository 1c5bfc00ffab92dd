"""The name of a release, as a pod template carries it."""

import pytest

from admlops.errors import ConfigError
from admlops.serving.release_reference import ReleaseReference


@pytest.mark.parametrize("text", ["0001-0123456789ab", f"12345-0123456789ab@sha256:{'0a' * 32}"])
def test_reads_what_it_writes(text):
    assert str(ReleaseReference.parse(text)) == text


@pytest.mark.parametrize("text", ["", "unset"])
def test_nothing_is_set(text):
    with pytest.raises(ConfigError, match="none is set; publish one"):
        ReleaseReference.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "1-0123456789ab",
        "0001-0123456789AB",
        "0001-0123456789ab/..",
        "../0001-0123456789ab",
        "0001-0123456789ab@sha256:00",
        "0001-0123456789ab\n",
        "latest",
    ],
)
def test_other_forms_are_refused(text):
    with pytest.raises(ConfigError, match="expected an id like"):
        ReleaseReference.parse(text)
