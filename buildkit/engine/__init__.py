"""The pinned BuildKit engine: started when needed, beside the user's own Docker, without a network.

See ``docs/adr/0002-engine.md`` for why it runs in a user namespace of its own.
"""

from buildkit.engine.control import Engine, EngineSpec, Status, need_root

__all__ = ["Engine", "EngineSpec", "Status", "need_root"]
