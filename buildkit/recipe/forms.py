"""What each kind of name in a recipe may look like.

Patterns are compiled on first use and stay inside what Python and ECMAScript (so JSON Schema)
read alike. They describe shape only: whether a package exists is known to APT and pip alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from buildkit import distributions

if TYPE_CHECKING:
    from collections.abc import Callable


class Form(NamedTuple):
    """The form of a string.

    Attributes:
        pattern: regular expression for the whole of it.
        words: what it is, after "must be".
        remedy: what to write instead.
        same: two strings for which this is equal mean the same.
    """

    pattern: str
    words: str
    remedy: str
    same: Callable[[str], str] = str

    def fits(self, text: str) -> bool:
        """Whether the whole of `text` has this form."""
        return re.fullmatch(self.pattern, text) is not None


def distribution(requirement: str) -> str:
    """The normalised name (PyPA, "Names and normalization") that a requirement begins with."""
    match = re.match(_NAME, requirement)
    return distributions.normal(match[0]) if match else requirement


def _requirement(text: str) -> str:
    """The same distribution may be named again for another environment marker."""
    return distribution(text) + ";" + text.partition(";")[2].strip()


# The names of PEP 508 with the versions of PEP 440 in their normal spelling. The `packaging`
# library reads more spellings, but takes 20 ms to import.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_RELEASE = r"(?:[0-9]+!)?[0-9]+(?:\.[0-9]+)*"
_SUFFIX = r"(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?(?:\.dev[0-9]+)?"
_LOCAL = r"(?:\+[a-z0-9]+(?:\.[a-z0-9]+)*)?"
_CLAUSE = (
    rf"(?:[=!]= ?{_RELEASE}(?:\.\*|{_SUFFIX}{_LOCAL})"
    rf"|[<>]=? ?{_RELEASE}{_SUFFIX}"
    rf"|~= ?(?:[0-9]+!)?[0-9]+(?:\.[0-9]+)+{_SUFFIX})"
)
_WORD = r"(?:'[A-Za-z0-9_.]+'|\"[A-Za-z0-9_.]+\")"
_TEST = (
    r"(?:python_version|python_full_version|platform_machine|platform_system|sys_platform"
    rf"|implementation_name) ?(?:==|!=|<=|>=|<|>| in | not in ) ?{_WORD}"
)

NAME = Form(
    r"[a-z0-9][a-z0-9-]{0,62}",
    "lower-case letters, digits and `-`, beginning with a letter or digit, at most 63 of them",
    'write a name such as "shelf-camera"',
)
VERSION = Form(
    r"(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){2}(?:-[0-9A-Za-z][0-9A-Za-z.-]{0,63})?",
    "a version of three numbers, and a suffix after `-` if you like",
    'write a version such as "1.0.0" or "1.1.0-rc.1"; registries know no `+`',
)
LINE = Form(
    r"[^\u0000-\u001f\u007f]{1,200}",
    "one line of 1 to 200 characters",
    "shorten it, and leave out line breaks and other control characters",
)
SPDX = Form(
    r"\(*[A-Za-z0-9.-]+\+?\)*(?: (?:AND|OR|WITH) \(*[A-Za-z0-9.-]+\+?\)*)*",
    "an SPDX licence expression",
    'write one such as "Apache-2.0" or "MIT OR Apache-2.0"',
)
URL = Form(
    r"(?:https?|ssh|git)://(?![^/]*:[^/]*@)[^\s\u0000-\u001f\u007f]{1,400}",
    "a URL, without a password",
    'write one such as "https://example.org/digits"',
)
TASK = Form(
    r"[a-z0-9]+(?:-[a-z0-9]+)*",
    "lower-case words joined by `-`",
    'write one such as "image-classification"',
)
FLAKE = Form(
    r"(?:(?:github|gitlab|sourcehut):[^\s#\/][^\s#\\]*"
    r"|(?:git\+https|git\+ssh|https)://[^\s#\\]+"
    r"|path:\.[^\s#\\]*)(?:#[^\s#\\]+)?",
    "a flake reference",
    'write one such as "github:acme/env#builder"; no absolute path, it differs between machines',
)
DEBIAN_PACKAGE = Form(
    r"[a-z0-9][a-z0-9.+-]+",
    "the name of a Debian package (Debian Policy 5.6.1)",
    'write only the name, such as "libgomp1"; the lock holds version and architecture',
)
PYTHON_VERSION = Form(
    r"3\.[1-9][0-9]?",
    "a Python 3 release of two numbers",
    'write a string such as "3.11"',
)
REQUIREMENT = Form(
    rf"{_NAME}(?: ?\[{_NAME}(?:, ?{_NAME})*\])?(?: ?{_CLAUSE}(?: ?, ?{_CLAUSE})*)?"
    rf"(?: ?; ?{_TEST}(?: (?:and|or) {_TEST})*)?",
    "a Python requirement: a name, and versions if you like",
    'write one such as "numpy" or "onnxruntime==1.31.1"; URLs, paths and options of pip are not '
    "taken, because a lock could not hold them",
    _requirement,
)
DISTRIBUTION = Form(
    _NAME,
    "the name of a Python distribution",
    'write only the name, such as "protobuf"',
    distribution,
)
GLOB = Form(
    r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))[^\u0000-\u001f\u007f\\]{1,400}",
    "a pattern of paths without a leading `/`, without `..` and `\\`",
    'write one relative to the root of the image, such as "usr/share/doc/*"',
)
SHA256 = Form(
    r"[0-9a-f]{64}",
    "64 lower-case hexadecimal digits",
    "write what `sha256sum FILE` prints first",
)
DIGEST = Form(
    r"sha256:[0-9a-f]{64}",
    "a digest: `sha256:` and 64 lower-case hexadecimal digits",
    "write the model's digest as `show` prints it",
)
PROVIDER = Form(
    r"[A-Z][A-Za-z0-9]{0,60}ExecutionProvider",
    "the name of an execution provider of ONNX Runtime",
    'write one that `onnxruntime.get_available_providers()` knows, such as "CPUExecutionProvider"',
)
PATH = Form(
    r"(?!/)[^\u0000-\u001f\u007f\\]{1,400}",
    "a relative path with `/` between folders",
    'write it relative to the recipe\'s folder, such as "app/Dockerfile"',
)
