"""What is wrong with an exported model, as one line."""

from __future__ import annotations

from htc.config import ConfigError


class ExportError(ConfigError):
    """An export that cannot be made, read, or run here; says what to do."""
