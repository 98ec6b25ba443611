"""Refuses Windows, where Unix modules such as fcntl are missing. Imports nothing, so that it runs before they do."""

import sys


def require_unix() -> None:
    """Exit with a sentence on Windows."""
    if sys.platform == "win32":
        sys.exit("CyberImage runs on Linux and macOS. On Windows, run it in WSL2, GPUs included.")
