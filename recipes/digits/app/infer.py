"""One question from a file or from standard input, one answer, both JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from classifier import Classifier

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(file: str, environment: Mapping[str, str]) -> str:
    """The answer to the question in `file`, or on standard input when that is ``-``.

    Raises:
        AppError: no usable model, or no right question.
        OSError: the file cannot be read.
    """
    question = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    return json.dumps(Classifier.from_environment(environment).answer(question))
