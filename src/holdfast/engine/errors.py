"""What can go wrong while data is moved, in words that an administrator can act on.

The message of each error (``str(error)``) is one or a few whole sentences that name the path or
the tool concerned; it is shown to people as it stands. A stop asked for by a person is not an
error: the task is cancelled and ``asyncio.CancelledError`` passes through.
"""


class EngineError(Exception):
    """The engine could not do what the plan asked for."""


class NoSpace(EngineError):
    """The disk, the quota or the file size limit of the place written to is used up."""


class SourceMissing(EngineError):
    """The disk image or folder to back up does not exist."""


class SourceUnreadable(EngineError):
    """The source exists, but cannot be read whole and unchanged, or must not be read."""


class RepositoryUnavailable(EngineError):
    """The repository is not there, is not the expected one, is locked, or refuses the password."""


class RepositoryLocked(RepositoryUnavailable):
    """Another program works on the repository and has locked it."""


class ImageInUse(EngineError):
    """Another process, usually a running machine, holds the disk image open for writing."""


class ToolMissing(EngineError):
    """An outside program that the work needs is not installed."""


class ToolFailed(EngineError):
    """An outside program failed for a reason that no other error names."""


class ChainBroken(EngineError):
    """A file that a restore point depends on is missing or damaged."""


class KeyRefused(EngineError):
    """What is encrypted cannot be opened: there is no key for it, or another one is needed."""


class HypervisorUnavailable(EngineError):
    """The hypervisor's host cannot be reached, does not answer, or its library is missing here."""


class HypervisorFailed(EngineError):
    """The hypervisor refused, or failed at, what it was asked to do."""


class AgentSilent(HypervisorFailed):
    """A machine's guest agent does not answer: it may do what it was asked for all the same."""


class CheckpointUnusable(HypervisorFailed):
    """A checkpoint of a machine, or its bitmap on one of the disks, is missing or broken."""


class MachineMissing(EngineError):
    """The machine does not exist on the host."""


class MachineBusy(EngineError):
    """The machine exists already, runs, or is being backed up, which the work does not allow."""


class LeftUnfinished(EngineError):
    """The work failed, and what it has left cannot be put right now: that must be done later."""


class CannotFinish(EngineError):
    """What was interrupted cannot be brought to its end any more, now or later."""


class ScriptFailed(EngineError):
    """A script that was to run before or after the backup failed or ran too long."""
