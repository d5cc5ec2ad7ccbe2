"""Names of images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binderlet.images.names import LIMIT, image_name

PREFIX = "oci.2i2c.mybinder.org/mybinder-builds/i-"


@pytest.mark.parametrize(
    ("slug", "ref", "name"),
    [
        (
            "binder-examples-octave",
            "1479e0252b2e648bb755ee913292b79495931717",
            "i-binder-2dexamples-2doctave-03025a:1479e0252b2e648bb755ee913292b79495931717",
        ),
        (
            "https://github.com/binderhub-ci-repos/cached-minimal-dockerfile",
            "596b52f1",
            "i-https-3a-2f-2fgithub-2ecom-2fbinderhub-2dci-2drepos-2fcached-2dminimal-2ddockerfile-f3b374:596b52f1",
        ),
        ("zenodo-3242074", "3242074", "i-zenodo-2d3242074-b993d2:3242074"),
        ("gitlab_-org-gitlab_-foss", "b3344b7f", "i-gitlab-5f-2dorg-2dgitlab-5f-2dfoss-a53a80:b3344b7f"),
    ],
)
def test_names_are_those_of_binderhub(slug: str, ref: str, name: str) -> None:
    """The names that public BinderHubs gave to these repositories come out."""
    assert image_name(PREFIX, slug, ref) == f"oci.2i2c.mybinder.org/mybinder-builds/{name}"


def test_names_are_lower_case_without_underscores() -> None:
    """What a registry refuses is replaced also in the prefix and the ref."""
    assert image_name("My_Prefix/", "A", "v_1") == "my-prefix/a-559aea:v-1"


@given(slug=st.text(min_size=1, max_size=600), prefix=st.text("abc-/.", max_size=60))
def test_names_are_never_too_long(slug: str, prefix: str) -> None:
    """However long a slug is, the name without its tag fits into what registries take."""
    assert len(image_name(prefix, slug, "ref").rpartition(":")[0]) <= LIMIT


def test_long_slugs_stay_apart() -> None:
    """Slugs that differ only beyond the cut have different names."""
    assert image_name("", "a" * 400, "r") != image_name("", "a" * 401, "r")
