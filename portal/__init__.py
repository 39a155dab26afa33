"""The shell: settings, doors, and the pages that join the two domains ``pools`` and ``billing``."""

__version__ = "0.1.0"
