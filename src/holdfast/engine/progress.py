"""How far a piece of work is, as one number that never goes back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """``fraction`` of the work done, 0 to 1; bytes of the source read, where they are known."""

    fraction: float
    bytes_done: int | None = None
    bytes_total: int | None = None


ProgressCallback = Callable[[Progress], None]


def ignore_progress(_progress: Progress) -> None:
    """The callback of those who do not want to know."""


class Abreast:
    """One fraction made of parts of the work that go on at the same time: that of the slowest."""

    def __init__(self, report: ProgressCallback, parts: int) -> None:
        self._report = report
        self._fractions = [0.0] * parts

    def part(self, index: int) -> Callable[[float], None]:
        """Given a part's index, return the function that is told that part's own fraction."""

        def advance(fraction: float) -> None:
            self._fractions[index] = max(self._fractions[index], min(fraction, 1.0))
            self._report(Progress(min(self._fractions)))

        return advance


def fraction_of(advance: Callable[[float], None]) -> ProgressCallback:
    """Given what is told a fraction, return the callback that tells it that of the progress."""

    def tell(progress: Progress) -> None:
        advance(progress.fraction)

    return tell


class Phases:
    """One monotonic fraction made of consecutive phases with the given relative weights.

    The first phase is the one that reads the source: ``bytes_done`` follows it alone, because
    the later phases (compressing, hashing) read no more of the source.
    """

    def __init__(
        self, report: ProgressCallback, weights: Sequence[float], bytes_total: int | None = None
    ) -> None:
        self._report = report
        self._weights = weights
        self._bytes_total = bytes_total
        self._fraction = 0.0
        self._bytes_done = 0

    def phase(self, index: int) -> Callable[[float], None]:
        """Given a phase's index, return the function that is told that phase's own fraction."""
        whole = sum(self._weights)
        before = sum(self._weights[:index]) / whole
        share = self._weights[index] / whole

        def advance(fraction: float) -> None:
            inside = min(max(fraction, 0.0), 1.0)
            reading = inside if index == 0 else 1.0
            # A tool may step back (an estimate corrected upwards); what people see must not.
            self._fraction = min(max(self._fraction, before + share * inside), 1.0)
            if self._bytes_total is not None:
                self._bytes_done = max(self._bytes_done, int(reading * self._bytes_total))
            self._report(
                Progress(
                    self._fraction,
                    None if self._bytes_total is None else self._bytes_done,
                    self._bytes_total,
                )
            )

        return advance
