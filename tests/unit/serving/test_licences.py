import pytest

from admlops.errors import ConfigError
from admlops.serving.licences import require_permission


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


def test_licences_that_forbid_each_other_forbid_any_release():
    require_permission(["CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0"], "research")
    with pytest.raises(ConfigError, match="none accepts the others"):
        require_permission(["CC-BY-SA-4.0", "CC-BY-NC-SA-4.0"], "research")
