"""One value for each measurement of the same samples: all of them, without each group, under each label shuffle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

__all__ = ["Replicates"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Replicates(Generic[T]):
    """Values of the same kind, in one order: `zip` pairs those of two `Replicates`.

    Attributes
    ----------
    whole
        The value for all samples.
    without : list
        The values without each jackknife group.
    shuffled : list
        The values under each shuffle of the labels and targets.
    """

    whole: T
    without: list[T] = field(default_factory=list)
    shuffled: list[T] = field(default_factory=list)

    def __iter__(self) -> Iterator[T]:
        yield self.whole
        yield from self.without
        yield from self.shuffled

    @property
    def unshuffled(self) -> Replicates[T]:
        """The values under the labels as they are."""
        return Replicates(self.whole, self.without)

    def map(self, function: Callable[[T], R]) -> Replicates[R]:
        """Apply `function` to every value."""
        return Replicates(
            function(self.whole), [function(item) for item in self.without], [function(item) for item in self.shuffled]
        )

    def paired_with(self, other: Replicates[R]) -> Replicates[tuple[T, R]]:
        """Pair every value with that of another `Replicates` for the same measurement."""
        return Replicates(
            (self.whole, other.whole),
            list(zip(self.without, other.without, strict=True)),
            list(zip(self.shuffled, other.shuffled, strict=True)),
        )

    def lists(self) -> dict[str, Any]:
        """Return the values as plain lists, from which ``Replicates(**lists)`` makes the same again."""
        return {"whole": self.whole, "without": list(self.without), "shuffled": list(self.shuffled)}

    @staticmethod
    def gather(parts: Sequence[Replicates[R]]) -> Replicates[list[R]]:
        """Collect the values of several parts, such as batches, measurement by measurement.

        Examples
        --------
        >>> Replicates.gather([Replicates(1, [2]), Replicates(3, [4])])
        Replicates(whole=[1, 3], without=[[2, 4]], shuffled=[])
        """
        return Replicates(
            [part.whole for part in parts],
            [list(items) for items in zip(*(part.without for part in parts), strict=True)],
            [list(items) for items in zip(*(part.shuffled for part in parts), strict=True)],
        )
