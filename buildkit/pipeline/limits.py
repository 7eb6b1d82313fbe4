"""What a user names for a smoke test: an image in a store, and the limits of its recipe."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from buildkit.device.delivery import Registry
from buildkit.errors import InputError, StoreError
from buildkit.evidence import builds
from buildkit.pipeline import made
from buildkit.pipeline import project as projects
from buildkit.recipe import SmokeSpec, limits_of, load
from buildkit.registry import of_environment
from buildkit.store import Store
from buildkit.store.layout import nearest

_REGISTRY = re.compile(r"(?P<url>https?://[^/\s@?#]+)/(?P<repository>[a-z0-9][a-z0-9._/-]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """An image, and by which limits it is judged.

    Attributes:
        store: where it is.
        ref: its name or digest.
        limits: of its recipe.
        rules_from: ``recipe``, or ``target``: no recipe is known, so there are no limits, and what
            every device of its kind is asked for is all.
        recipe: file of the recipe, when that was named.
    """

    store: Store
    ref: str
    limits: SmokeSpec
    rules_from: Literal["recipe", "target"] = "recipe"
    recipe: Path | None = None


def find(
    what: str, *, store: Path | None, profile: str | None = None, rules: Path | None = None
) -> Named:
    """What a user means.

    Args:
        what: a recipe's file, whose built image it is, judged by what the recipe says now; or an
            image, judged by the recipe that it was built from.
        store: folder of the store; the recipe's, or the nearest one, when absent.
        profile: in the place of the one that the recipe says.
        rules: a recipe's file whose limits count, whatever the image was built from.

    Raises:
        RecipeError: the recipe has mistakes.
        StoreError: there is no such store, or no such image in it.
    """
    if what.endswith(".toml"):
        recipe = load(Path(what))
        home = store or projects.root_of(recipe.file) / ".buildkit/store"
        shelf = Store.open(home)
        named = Named(
            store=shelf, ref=made.names(recipe)[0], limits=recipe.smoke, recipe=recipe.file
        )
        try:
            shelf.resolve(named.ref)
        except StoreError as error:
            msg = f"{named.ref} is not in {home}"
            raise StoreError(msg, f"build it first: python -m buildkit build {what}") from error
    else:
        shelf = Store.open(store) if store is not None else Store.open(nearest(Path.cwd()))
        limits = None if rules is not None else _recorded(shelf, what)
        named = Named(
            store=shelf,
            ref=what,
            limits=limits or SmokeSpec(),
            rules_from="target" if limits is None else "recipe",
        )
    if rules is not None:
        named = dataclasses.replace(named, limits=load(rules).smoke, rules_from="recipe")
    if profile is None:
        return named
    return dataclasses.replace(named, limits=_with_profile(named.limits, profile))


def registry(text: str, ca: Path | None) -> Registry:
    """The registry that a device is to bring blobs from.

    Args:
        text: ``http(s)://host[:port]/repository``.
        ca: file of certificates in PEM.

    Raises:
        InputError: not such an address; the file cannot be read.
    """
    found = _REGISTRY.fullmatch(text.rstrip("/"))
    if found is None:
        msg = f"{text!r} is not the address of a repository"
        raise InputError(msg, "write https://HOST/REPOSITORY, without a tag")
    try:
        pem = "" if ca is None else ca.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        msg = f"{ca}: no certificates in PEM"
        raise InputError(msg, "name a file that begins with -----BEGIN CERTIFICATE-----") from error
    login = of_environment()
    return Registry(
        url=found["url"],
        repository=found["repository"],
        user="" if login is None else login.user,
        password="" if login is None else login.password,
        ca=pem,
    )


def _recorded(store: Store, ref: str) -> SmokeSpec | None:
    """Of the recipe that the image was built from; nothing where no build here made it."""
    try:
        build = builds.find(store, store.resolve(ref).digest)
    except StoreError:
        # It is there, which `candidate` checks; only nobody knows its recipe.
        return None
    listed: dict[str, Any] = dict(build.sources["files"][build.sources["recipe"]])
    return limits_of(store.read(listed["digest"]), f"the recipe of {ref}")


def _with_profile(limits: SmokeSpec, profile: Any) -> SmokeSpec:
    own = {
        name: dataclasses.replace(each, profile=profile) for name, each in limits.targets.items()
    }
    return dataclasses.replace(limits, profile=profile, targets=own)
