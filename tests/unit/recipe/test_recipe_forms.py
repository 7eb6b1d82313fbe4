from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from buildkit.recipe import forms
from buildkit.recipe.forms import Form

GOOD = [
    (forms.NAME, "a"),
    (forms.NAME, "7-segment"),
    (forms.VERSION, "0.0.0"),
    (forms.VERSION, "10.20.30-rc.1"),
    (forms.SPDX, "MIT"),
    (forms.SPDX, "GPL-2.0-or-later WITH Classpath-exception-2.0"),
    (forms.SPDX, "(MIT OR Apache-2.0) AND LicenseRef-acme"),
    (forms.TASK, "object-detection"),
    (forms.URL, "https://git.example.org:8443/digits.git?x=1"),
    (forms.URL, "ssh://git@git.example.org/digits"),
    (forms.FLAKE, "github:acme/env#builder"),
    (forms.FLAKE, "github:acme/env/v1.2"),
    (forms.FLAKE, "git+https://git.example.org/env?ref=main#packages.builder"),
    (forms.FLAKE, "path:./env#builder"),
    (forms.DEBIAN_PACKAGE, "libstdc++6"),
    (forms.DEBIAN_PACKAGE, "python3.11-minimal"),
    (forms.DEBIAN_PACKAGE, "0ad"),
    (forms.REQUIREMENT, "numpy"),
    (forms.REQUIREMENT, "a.b_c-d [x, y_z] >=1.0, <2, !=1.5.*"),
    (forms.REQUIREMENT, "torch==2.4.0+cpu"),
    (forms.REQUIREMENT, "a~=1.4rc1"),
    (forms.REQUIREMENT, 'a==1!2.0.post1; platform_machine == "aarch64"'),
    (forms.REQUIREMENT, "a ; python_version < '3.12' and sys_platform != 'win32'"),
    (forms.GLOB, "usr/share/doc/*/[!c]*"),
    (forms.GLOB, "*..*"),
    (forms.PATH, "Ä b/c.d"),
    (forms.DIGEST, "sha256:" + "0" * 64),
]


@pytest.mark.parametrize(("form", "text"), GOOD, ids=[text for _, text in GOOD])
def test_fits(form: Form, text: str) -> None:
    assert form.fits(text)


@given(
    st.from_regex(
        forms.REQUIREMENT.pattern, fullmatch=True, alphabet=st.characters(max_codepoint=126)
    )
)
def test_every_accepted_requirement_is_one_for_pip(text: str) -> None:
    requirement = Requirement(text)
    assert requirement.url is None
    assert forms.distribution(text) == canonicalize_name(requirement.name)


@pytest.mark.parametrize("form", [v for v in vars(forms).values() if isinstance(v, Form)])
def test_patterns_are_short_of_what_only_python_knows(form: Form) -> None:
    assert not re.search(r"\(\?[^:!=]|\\[AZzwdb]", form.pattern)


def test_a_distribution_may_come_back_for_another_marker() -> None:
    same = forms.REQUIREMENT.same
    assert same("NumPy==1") == same("numpy >=2")
    assert same("numpy") != same("numpy; platform_machine == 'aarch64'")
