"""Matches the classes of a target with the class scores of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerwise.passes.request import PassRequest
from layerwise.passes.result import SplitResult

__all__ = ["IN_ORDER", "are_numbers", "leave_contested", "match_classes", "match_scores", "match_target"]

#: How scores and classes are matched where they agree in nothing but their number.
IN_ORDER = "in ascending order"


def match_classes(result: SplitResult, request: PassRequest) -> None:
    """Match the classes of every target with the network's class scores for it."""
    for target, scores in result.scores.items():
        common = target in result.common
        if common and request.settings.heads and target not in request.settings.heads:
            result.matched[target] = f"heads= names no output for {target}"
            continue
        rows, how = match_target(request, target, result.ids[target], scores, common=common)
        if rows is not None:
            result.rows[target] = rows
        if how:
            result.matched[target] = how


def match_target(
    request: PassRequest, target: str, ids: np.ndarray, scores: int, *, common: bool
) -> tuple[np.ndarray | None, str]:
    """Find the score of every class of a target (`match_scores`).

    Parameters
    ----------
    request : PassRequest
    target : str
    ids : ndarray of int
    scores : int
    common : bool
        Whether the scores are the network's own, which may have names.
    """
    return match_scores(
        ids,
        scores,
        declared=request.classes.get(target, 0),
        names=request.names.get(target, ()),
        score_names=request.score_names if common else (),
    )


def leave_contested(results: Sequence[SplitResult]) -> None:
    """Leave the network's own scores unused where they fit several targets alike."""
    common = {target for result in results for target in result.common if target in result.rows}
    if len(common) < 2:
        return
    names = sorted(common)
    why = f"the network's scores fit {' and '.join(names)} alike; heads={{target: name}} says whose they are"
    for result in results:
        for target in common & set(result.rows):
            _leave_unjudged(result, target, why)


def _leave_unjudged(result: SplitResult, target: str, why: str) -> None:
    """Compare the network's scores with no class of a target."""
    for part in result.replicates:
        for judged in (part.errors, part.class_errors, part.mean_ious):
            judged.pop(target, None)
    result.rows.pop(target, None)
    result.matched[target] = why


def match_scores(
    ids: np.ndarray, scores: int, *, declared: int = 0, names: Sequence[str] = (), score_names: Sequence[str] = ()
) -> tuple[np.ndarray | None, str]:
    """Find the row of every class among the class scores of a network.

    Declared classes, if there are as many as scores, are the scores in their order, unless the names on both sides
    show another one. Ids that occur are rows themselves if they reach from 0 to the last score. Other ids are matched
    by their names, else in ascending order if there are exactly as many as scores. An id beyond the scores has no row.

    Parameters
    ----------
    ids : ndarray of int
        Ids of the classes, shape ``(C,)``.
    scores : int
        The number of the network's class scores.
    declared : int
        The number of declared classes; 0 if the classes are the ids that occur.
    names : sequence of str
        The data's names of all declared classes; the ids themselves where it has none.
    score_names : sequence of str
        The network's names of its scores; none where it has none.

    Returns
    -------
    rows : ndarray of int or None
        Row of every class, shape ``(C,)``; None where they cannot be matched.
    how : str
        ``"by name"``, ``"in ascending order"``, or why they cannot be matched; empty for the usual match.

    Examples
    --------
    >>> match_scores(np.array([1, 2, 5]), 3)
    (array([0, 1, 2]), 'in ascending order')
    >>> match_scores(np.array([0, 1]), 2, declared=2, names=["cat", "dog"], score_names=["dog", "cat"])
    (array([1, 0]), 'by name')
    """
    own = np.arange(len(ids))
    by_name = _by_name(names or [str(item) for item in ids], score_names, scores)
    if declared:
        if by_name is not None and not are_numbers(names):
            return by_name[ids], "by name" if declared != scores or (by_name != np.arange(declared)).any() else ""
        return (ids, "") if declared == scores else (None, "")
    if len(ids) and ids.min() == 0 and ids.max() == scores - 1:
        return ids, ""
    if by_name is not None:
        return by_name, "by name"
    if len(ids) == scores:
        rows = np.empty_like(own)
        rows[np.argsort(ids)] = own
        return rows, IN_ORDER
    if len(ids) and ids.min() > 0 and ids.max() == scores - 1:
        return None, f"the ids {ids.min()} .. {ids.max()} may count from 0 or from 1; classes={scores} says from 0"
    return None, ""


def _by_name(names: Sequence[str], score_names: Sequence[str], scores: int) -> np.ndarray | None:
    """The score that has the name of each class; None if a class has no score of its name, or two share one."""
    found = {_plain(name): row for row, name in enumerate(score_names)}
    wanted = [_plain(name) for name in names]
    if len(score_names) != scores or len(found) < scores or len(set(wanted)) < len(wanted):
        return None
    return np.array([found[name] for name in wanted]) if wanted and all(name in found for name in wanted) else None


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def are_numbers(names: Sequence[str]) -> bool:
    """Return whether names of classes are only their numbers, ``0 .. C - 1``, as in data without names."""
    return list(names) == [str(number) for number in range(len(names))]
