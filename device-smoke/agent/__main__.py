"""``python3 agent.pyz COMMAND``; this file is also ``__main__.py`` at the root of the zipapp."""

import sys

from agent.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
