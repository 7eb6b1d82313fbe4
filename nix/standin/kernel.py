# ruff: noqa: INP001 - a program of the sandbox, not a package
"""kernel.py DEB DEPMOD... : the kernel and those of its modules that the board needs, into $out.

Writes ``Image``, ``first`` (modules for the initial RAM disk, numbered in the order of loading) and
``lib/modules/<release>``. A module that this kernel does not have is left out: it may be built in.
"""

import lzma
import os
import subprocess
import sys
from pathlib import Path

import packages

# To find the root, and to be spoken to, before any program of the root runs.
FIRST = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtio_console"),
    *("crc32c_generic", "ext4"),
)
# What container runtimes use, and the frequency scaling that a governor is set of.
LATER = (
    *("overlay", "fuse", "loop", "tun", "veth", "bridge", "br_netfilter", "dummy", "autofs4"),
    *("squashfs", "nf_tables", "nft_chain_nat", "nft_masq", "nft_compat", "nft_ct"),
    *("nf_conntrack", "xt_MASQUERADE", "xt_addrtype", "xt_conntrack", "xt_comment", "xt_mark"),
    *("xt_nat", "xt_tcpudp", "iptable_nat", "iptable_filter", "ip_tables"),
    *("cpufreq_dt", "cpufreq_ondemand", "cpufreq_powersave", "cpufreq_conservative"),
)


def main() -> None:
    """Unpack the package, choose, write."""
    deb, *depmod = sys.argv[1:]
    work, out = Path("/build/kernel"), Path(os.environ["out"])  # noqa: SIM112 - as Nix names it
    out.mkdir()
    _unpack(Path(deb), work, out)
    folder = next((work / "lib/modules").iterdir())
    release = folder.name
    subprocess.run([*depmod, "-b", work, release], check=True)
    needs = _needs(folder)
    first, every = _closure(FIRST, needs), _closure((*FIRST, *LATER), needs)
    (out / "first").mkdir()
    for number, path in enumerate(first):
        (out / f"first/{number:02}-{_name(path)}.ko").write_bytes(_plain(folder / path))
    target = out / "lib/modules" / release
    for path in every:
        file = target / path.removesuffix(".xz")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_plain(folder / path))
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        (target / name).write_bytes((folder / name).read_bytes())
    subprocess.run([*depmod, "-b", out, release], check=True)


def _unpack(deb: Path, work: Path, out: Path) -> None:
    for path, member, content in packages.members(deb):
        if member.isreg() and path.startswith("boot/vmlinuz-"):
            (out / "Image").write_bytes(content)
        elif member.isreg() and path.startswith("usr/lib/modules/"):
            file = work / path.removeprefix("usr/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _needs(folder: Path) -> dict[str, list[str]]:
    """Module → what must be loaded before it, the last one first (modules.dep(5))."""
    lines = (folder / "modules.dep").read_text().splitlines()
    return {path: rest.split() for path, _, rest in (line.partition(":") for line in lines)}


def _closure(names: tuple[str, ...], needs: dict[str, list[str]]) -> list[str]:
    """Modules by name and all that they need, in the order of loading."""
    places = {_name(path): path for path in needs}
    found = (places[name] for name in names if name in places)
    return list(dict.fromkeys(one for path in found for one in (*reversed(needs[path]), path)))


def _name(path: str) -> str:
    return path.rpartition("/")[2].split(".ko")[0].replace("-", "_")


def _plain(file: Path) -> bytes:
    data = file.read_bytes()
    return lzma.decompress(data) if file.suffix == ".xz" else data


main()
