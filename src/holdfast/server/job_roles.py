"""What an object is to its job."""

from __future__ import annotations

#: The job backs it up.
INCLUDED = "Included"
#: The job leaves it out, though it is of a host or a tag that the job includes.
EXCLUDED = "Excluded"
#: A machine that came with a host or a tag: it has history in the job, and is not shown in it.
FOUND = "Found"
