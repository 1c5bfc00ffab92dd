import pytest

from admlops.errors import ConfigError
from admlops.serving.licences import read_terms, require_permission


@pytest.mark.parametrize(
    ("name", "commercial"),
    [
        ("CC BY-NC-SA 3.0", False),
        ("KITTI, CC BY-NC-SA 3.0", False),
        ("CC-BY-NC-4.0", False),
        ("BDD100K research licence", False),
        ("nuScenes non-commercial", False),
        ("Apache-2.0", True),
        ("MIT", True),
        ("CC BY 4.0", True),
        ("CC-BY-SA-4.0", True),
        ("House rules", None),
    ],
)
def test_terms_are_read_from_the_name(name, commercial):
    assert read_terms(name).commercial is commercial


def test_research_may_use_non_commercial_data():
    require_permission(["CC BY-NC-SA 3.0", "Apache-2.0"], "research")


def test_commercial_use_of_non_commercial_data_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'CC BY-NC-SA 3\.0' forbids commercial use"):
        require_permission(["Apache-2.0", "CC BY-NC-SA 3.0"], "commercial")


def test_commercial_use_needs_known_terms():
    with pytest.raises(ConfigError, match="'House rules' is not known to permit"):
        require_permission(["House rules"], "commercial")
    with pytest.raises(ConfigError, match="no licence is recorded"):
        require_permission([], "commercial")
    require_permission(["MIT"], "commercial")


def test_no_derivatives_forbids_any_release():
    with pytest.raises(ConfigError, match="forbids passing on derived works"):
        require_permission(["CC BY-ND 4.0"], "research")
