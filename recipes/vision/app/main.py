"""Answer questions with an ONNX classifier: ``main.py serve`` or ``main.py infer [FILE]``.

Environment:
    MODEL: the ONNX file (``/model/model.onnx``), mounted beside the image.
    THREADS: threads of one inference; 0, the default, is one for each core.
    HOST, PORT: where ``serve`` listens (``0.0.0.0``, ``8080``).
"""

from __future__ import annotations

import os
import sys

import infer
import serve
from classifier import AppError

USAGE = "usage: main.py serve | main.py infer [FILE]"


def main(arguments: list[str]) -> int:
    """Run one subcommand; 0 is success, 2 means that there is no answer."""
    try:
        match arguments:
            case ["serve"]:
                serve.run(os.environ)
            case ["infer"]:
                print(infer.run("-", os.environ))
            case ["infer", file]:
                print(infer.run(file, os.environ))
            case _:
                print(USAGE, file=sys.stderr)
                return 2
    except (AppError, OSError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
