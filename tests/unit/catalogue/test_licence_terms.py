import pytest

from admlops.catalogue.licences import describe_terms, licence_table, mix_terms, read_terms


@pytest.mark.parametrize(
    ("name", "commercial"),
    [
        ("CC BY-NC-SA 3.0", False),
        ("KITTI, CC BY-NC-SA 3.0", False),
        ("CC-BY-NC-4.0", False),
        ("BDD100K research licence", False),
        ("nuScenes non-commercial", False),
        ("Waymo Open Dataset", False),
        ("Apache-2.0", True),
        ("MIT", True),
        ("CC BY 4.0", True),
        ("CC-BY-SA-4.0", True),
        ("generated", True),
        ("House rules", None),
        ("free of the MIT campus", None),
        ("LicenseRef-Flickr-images", None),
    ],
)
def test_commercial_use_by_name(name: str, commercial: bool | None) -> None:
    assert read_terms(name).commercial is commercial
    assert read_terms(name).name == name


def test_a_longer_name_forbids_what_the_licence_in_it_forbids() -> None:
    terms = read_terms("KITTI, CC BY-NC-SA 3.0")
    assert (terms.share_alike, terms.spdx) == (True, "CC-BY-NC-SA-3.0")
    assert not read_terms("CC-BY-NC-ND-4.0 and more").derivatives
    assert not read_terms("House rules, no derivatives").derivatives
    assert read_terms("House rules, share-alike").share_alike


def test_the_digest_follows_the_terms() -> None:
    terms = licence_table()["CC-BY-4.0"]
    assert terms.digest == licence_table()["CC-BY-4.0"].digest
    assert terms.replace(notes="more").digest != terms.digest


def test_a_mix_permits_what_all_permit() -> None:
    assert mix_terms([]).commercial is None
    free = mix_terms(["MIT", "CC0-1.0"])
    assert (free.commercial, free.redistribution, free.carry) == (True, True, ())
    assert free.attribution == ("MIT",)
    assert mix_terms(["MIT", "House rules"]).commercial is None
    bound = mix_terms(["MIT", "House rules", "LicenseRef-Cityscapes"])
    assert (bound.commercial, bound.redistribution) == (False, False)
    assert mix_terms(["CC-BY-ND-4.0", "MIT"]).no_derivatives == ("CC-BY-ND-4.0",)


def test_a_later_version_carries_an_earlier_share_alike_licence() -> None:
    mix = mix_terms(["CC BY-NC-SA 3.0", "CC-BY-NC-SA-4.0"])
    assert (mix.carry, mix.conflicts) == (("CC-BY-NC-SA-4.0",), ())


def test_share_alike_licences_that_exclude_each_other() -> None:
    mix = mix_terms(["CC-BY-SA-4.0", "CC-BY-NC-SA-4.0"])
    assert mix.carry == ()
    assert "none accepts the others" in mix.conflicts[0]


def test_share_alike_that_grants_what_another_forbids() -> None:
    mix = mix_terms(["CC-BY-SA-4.0", "CC-BY-NC-4.0"])
    assert mix.carry == ("CC-BY-SA-4.0",)
    assert "'CC-BY-NC-4.0' forbids" in mix.conflicts[0]
    assert mix_terms(["CC-BY-SA-4.0", "MIT"]).conflicts == ()


def test_terms_that_bind_what_is_derived_exclude_other_such_terms() -> None:
    mix = mix_terms(["LicenseRef-Waymo-Dataset", "CC-BY-NC-SA-4.0"])
    assert "none accepts the others" in mix.conflicts[0]
    assert mix_terms(["Waymo Open Dataset", "CC-BY-4.0"]).carry == ("Waymo Open Dataset",)


def test_compatibility_in_one_direction() -> None:
    mix = mix_terms(["CC-BY-SA-4.0", "GPL-3.0-only"])
    assert (mix.carry, mix.conflicts) == (("GPL-3.0-only",), ())


@pytest.mark.parametrize(
    ("names", "together"),
    [
        (["CC-BY-4.0", "MIT"], "yes | yes | yes"),
        (["CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0"], "no | yes | under CC-BY-NC-SA-4.0"),
        (["CC-BY-NC-SA-4.0", "LicenseRef-BDD100K"], "no | yes | under CC-BY-NC-SA-4.0"),
        (["CC-BY-4.0", "LicenseRef-Cityscapes"], "no | no | yes"),
        (["CC-BY-ND-4.0", "MIT"], "yes | yes | no"),
        (["LicenseRef-Waymo-Dataset", "CC-BY-NC-SA-4.0"], "no | not known | no"),
        (["own drives"], "not known | not known | not known"),
    ],
)
def test_a_mix_of_real_terms_is_a_table(names: list[str], together: str) -> None:
    table = describe_terms(mix_terms(names)).splitlines()
    assert table[-1] == f"| **together** | {together} |"
    assert len(table) == len(names) + 3
