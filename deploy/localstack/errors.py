"""What can go wrong with the local stack.

StackError                      anything below; the message says what to do next
├── ProgramMissingError         a program the stack runs is not installed (permanent)
├── DownloadError               Maven could not fetch the broker's jars (transient)
├── ServiceFailedError          a service did not start or did not stop (transient)
├── ServiceIsExternalError      the service belongs to somebody else (permanent)
└── FolderInUseError            another `up` or `down` holds the folder (transient)
"""

from __future__ import annotations


class StackError(Exception):
    """Base of every error of the local stack."""


class ProgramMissingError(StackError):
    """A program that a service needs is not installed."""


class DownloadError(StackError):
    """The jars of the broker could not be fetched."""


class ServiceFailedError(StackError):
    """A service did not become healthy in time, died on start, or would not end."""


class ServiceIsExternalError(StackError):
    """The service was named by an environment variable, so it is not ours to control."""


class FolderInUseError(StackError):
    """Another process is bringing this stack up or down and did not finish in time."""
