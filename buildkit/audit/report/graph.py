"""Where an artifact came from and where it went, as things and arrows in stages. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildkit import digests
from buildkit.markup import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildkit.audit.report.types import Artifact, Build, Material, Report, Run

STAGES = ("made from", "build", "made", "ran on", "channels")
_MOST = 6
_MOST_DATA = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """A box.

    Attributes:
        stage: number in `STAGES`.
        id: not twice in one graph.
        title: what it is.
        name: what it is called; from elsewhere.
        note: more of it, from elsewhere; may be empty.
        mark: ``PASS``, ``FAIL`` or ``INCONCLUSIVE``; else empty.
    """

    stage: int
    id: str
    title: str
    name: str
    note: str = ""
    mark: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """Things, and (id, id) of each arrow between two of them."""

    things: tuple[Thing, ...]
    arrows: tuple[tuple[str, str], ...]

    def stages(self) -> list[list[Thing]]:
        """Things by stage, without those that are empty."""
        found = [[each for each in self.things if each.stage == at] for at in range(len(STAGES))]
        return [each for each in found if each]


def graph(report: Report) -> Graph:
    """The graph of a report; many of a kind are one thing that says how many."""
    inputs = list(_inputs(report))
    builds = [_build(at, each) for at, each in enumerate(report.builds)]
    made, names = _made(report)
    ran, ran_on = _ran(report, names)
    channels = list(_channels(report))
    middle = builds or made
    arrows = [(one.id, other.id) for one in inputs for other in middle]
    arrows += [(one.id, other.id) for one in builds for other in made]
    arrows += ran_on
    # A channel leads to what passed; where nothing is known to have, to what was made.
    passed = [each for each in ran if each.mark == "PASS"] or made
    arrows += [(one.id, other.id) for one in passed for other in channels]
    return Graph(
        things=(*inputs, *builds, *made, *ran, *channels), arrows=tuple(dict.fromkeys(arrows))
    )


def _inputs(report: Report) -> Iterator[Thing]:
    commits = [each for each in report.materials if each.commit]
    revisions = [build.revision for build in report.builds if build.revision]
    for at, each in enumerate(commits[:_MOST_DATA]):
        yield _input(f"commit-{at}", "Commit", each.commit[:12], _repository(each.uri))
    if not commits and revisions:
        yield _input("commit", "Commit", revisions[0][:18], _repository(""))
    data = [each for each in report.materials if _is_for(each, "model")]
    if len(data) <= _MOST_DATA:
        for at, each in enumerate(data):
            yield _input(f"data-{at}", "Data or training", each.name, _short(each.digest))
    else:
        yield _input(
            "data",
            "Data and training",
            _many(len(data), "file"),
            ", ".join(each.name for each in data),
        )
    if locks := sorted({build.lock for build in report.builds} - {""}):
        yield _input("lock", "Lock", _short(locks[0]).removeprefix("sha256:"), _more(locks))
    files = [each for each in report.materials if _is_for(each, "source") and not each.commit]
    if files:
        names = ", ".join(each.name for each in files)
        yield _input("files", "Recipe", _many(len(files), "file"), names)
    for name, title, use in (
        ("packages", "Packages inside", "platform"),
        ("tools", "Tools that built it", "host"),
    ):
        found = [each for each in report.materials if _is_for(each, use)]
        if found:
            yield _input(name, title, _many(len(found), "package"), "each pinned by the lock")


def _input(id_: str, title: str, name: str, note: str) -> Thing:
    return Thing(stage=0, id=id_, title=title, name=name, note=note)


def _build(at: int, build: Build) -> Thing:
    return Thing(
        stage=1,
        id=f"build-{at}",
        title="Build",
        name=" ".join(filter(None, (build.recipe, build.version))) or "unnamed",
        note=build.builder.removeprefix("urn:edge-buildkit:builder:"),
    )


def _made(report: Report) -> tuple[list[Thing], dict[str, str]]:
    """Platforms and models, and label → id of the thing that stands for it."""
    found: list[Thing] = []
    names: dict[str, str] = {}
    for role, title in (("platform", "Image"), ("model", "Model")):
        parts = [each for each in (report.top, *report.parts) if each.role == role]
        if len(parts) > _MOST // 2:
            found.append(_output(role, title, f"{len(parts)} variants", report.top))
            names |= {each.label: role for each in parts}
            continue
        for at, each in enumerate(parts):
            found.append(_output(f"{role}-{at}", title, each.variant, each))
            names[each.label] = f"{role}-{at}"
    if not found:
        found.append(
            _output("top", shown(report.top.role).capitalize(), report.top.name, report.top)
        )
        names[report.top.label] = "top"
    return found, names


def _output(id_: str, title: str, name: str, artifact: Artifact) -> Thing:
    return Thing(stage=2, id=id_, title=title, name=name, note=_short(artifact.digest))


def _ran(report: Report, names: dict[str, str]) -> tuple[list[Thing], list[tuple[str, str]]]:
    """Devices, or kinds of device where there are many."""
    devices: dict[tuple[str, str], list[Run]] = {}
    for run in report.runs:
        devices.setdefault((run.target, run.key or run.where), []).append(run)
    by_target: dict[str, list[list[Run]]] = {}
    for (target, _), runs in devices.items():
        by_target.setdefault(target, []).append(runs)
    found = []
    for target, each in sorted(by_target.items()):
        if len(devices) <= _MOST:
            found += [(target, runs, runs[0].where) for runs in each]
        else:
            found.append(
                (target, [run for runs in each for run in runs], _many(len(each), "device"))
            )
    things, arrows = [], []
    for at, (target, runs, name) in enumerate(found[:_MOST]):
        passed = sum(run.result != "FAILED" for run in runs)
        mark = {run.mark for run in runs} - {""}
        things.append(
            Thing(
                stage=3,
                id=f"device-{at}",
                title=shown(target) + (f" ({shown(', '.join(sorted(mark)))})" if mark else ""),
                name=name,
                note=f"{passed} of {len(runs)} runs passed",
                mark=_verdict(report, target, {run.key for run in runs}),
            )
        )
        labels = {label for run in runs for label in (run.image, run.model)}
        arrows += [(id_, f"device-{at}") for label, id_ in names.items() if label in labels]
    return things, arrows


def _verdict(report: Report, target: str, keys: set[str]) -> str:
    """What gates decided last about any of these devices."""
    for each in report.verdicts:
        if any(kind == target and key in keys for kind, _, key in each.devices):
            return each.outcome
    return ""


def _channels(report: Report) -> Iterator[Thing]:
    newest: dict[tuple[str, str], bool] = {}
    for each in report.promotions:
        newest.setdefault((each.channel, each.place), each.leads_here)
    for at, ((channel, place), leads) in enumerate(list(newest.items())[:_MOST]):
        yield Thing(
            stage=4,
            id=f"channel-{at}",
            title="Channel" if leads else "Channel, before",
            name=channel,
            note=place,
        )


def _is_for(material: Material, use: str) -> bool:
    return any(each == use or each.startswith(f"{use} ") for each in material.uses)


def _repository(uri: str) -> str:
    return uri.removeprefix("git+") if uri not in ("", "git:") else "repository not named"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _more(found: Sequence[str]) -> str:
    return f"and {len(found) - 1} more" if len(found) > 1 else "every input, by hash"


def _short(digest: str) -> str:
    return f"sha256:{digests.hex_of(digest)[:12]}" if digests.is_digest(digest) else digest[:19]
