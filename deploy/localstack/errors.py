"""What can go wrong with the local stack.

StackError                    anything below; the message says what to do next
├── ProgramMissing            a program the stack runs is not installed (permanent)
├── DownloadFailed            Maven could not fetch the broker's jars (transient)
├── ServiceFailed             a service did not start or did not stop (transient)
├── ServiceIsExternal         the service belongs to somebody else (permanent)
└── FolderInUse               another `up` or `down` holds the folder (transient)
"""

from __future__ import annotations


class StackError(Exception):
    """Base of every error of the local stack."""


class ProgramMissing(StackError):
    """A program that a service needs is not installed."""


class DownloadFailed(StackError):
    """The jars of the broker could not be fetched."""


class ServiceFailed(StackError):
    """A service did not become healthy in time, died on start, or would not end."""


class ServiceIsExternal(StackError):
    """The service was named by an environment variable, so it is not ours to control."""


class FolderInUse(StackError):
    """Another process is bringing this stack up or down and did not finish in time."""
