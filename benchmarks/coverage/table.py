"""The table of what was found, as it stands in the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import groupby

from benchmarks.coverage.causes import CAUSES
from benchmarks.coverage.record import Record, finding

__all__ = ["written"]

_HEAD = """# Coverage

Of which architectures `layers="blocks"` finds the right layers, with no table of architectures and no configuration:
every name of timm and every model type of transformers, with random weights. Made by `python -m benchmarks.coverage`,
which goes on where it was stopped, with {versions}.
"""

_TIMM = """
## timm

{count} of {there} names were looked at{rest}.
{found} were traced on the meta device; {alike} more have the same
classes of modules inside one another as one of these, differ from it in size alone, and share its result. {right} are
right:

- every module that the model's `feature_info` names is a layer or has one as its last block, but for norms and
  activations, and for what it names inside a residual branch (Xception's): that is no cut of the network, and so none
  of its layers;
- no layer comes before one that it is made of;
- the classifier's input is what `forward_head(..., pre_logits=True)` gives, but for what the classifier does itself;
- without a block's tensor the output is out of the input's reach, in the raw operations and not in the graph that
  blocks are found in; beside it may go what a later module takes as an argument of its own (cells of NASNet, queries
  and what they look at) or in a list with what it is made of (the features of several depths that MobileNetV5 puts
  together), or what the network itself puts beside it (skips of U-Nets);
- no block is a dropout, a flatten or an identity, and every stage is a block.

| family | names | looked at | right | what is not |
| --- | ---: | ---: | ---: | --- |
"""

_TRANSFORMERS = """
## transformers

{count} of {there} pairs of a type and a kind of model were looked at{rest}.
A small model is made from the type's
default configuration, with three layers where it can be, and narrower or with fewer heads, and given inputs that were
made up. {types} types run so; {right} of the {ran} pairs that run are right ({share:.1%}):

- every hidden state that the model gives when asked for them is the tensor of a layer, in their order, with no layer in
  between that is not of the same stage; the first and the last apart, which are embeddings and may be the final norm.
  It may be that tensor behind a norm that the model puts there for those who ask alone (the backbones of MaskFormer),
  or without the padding, the prompt or the second stream that the layer itself has (Longformer, CPM-Ant, ProphetNet).
  What a decoder begins with in one list with the encoder (Funnel) is no layer. Of a list that is a choice of a longer
  one (the stages of SAM 2) the order counts alone;
- where there are none, there are as many layers in a list as the configuration counts;
- no two layers have one name, so that towers are told apart;
- a model with a head for classes has its logits among the layers.

| type | kinds that run | layers | what is not right, or does not run |
| --- | --- | ---: | --- |
"""


def written(records: Iterable[Record]) -> str:
    """The page that tells of records of both zoos."""
    from benchmarks.coverage import timm_zoo, transformers_zoo

    known = {(record.zoo, record.name): record for record in records}
    of_timm = [record for (zoo, _), record in known.items() if zoo == "timm"]
    others = [record for (zoo, _), record in known.items() if zoo == "transformers"]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", "transformers"))
    return (
        _HEAD.format(versions=versions)
        + _of_timm(of_timm, timm_zoo.names())
        + _of_transformers(others, transformers_zoo.names())
    )


def _of_timm(records: Sequence[Record], names: Sequence[str]) -> str:
    from benchmarks.coverage.timm_zoo import family

    by_name = {record.name: record for record in records}

    def right(record: Record) -> bool:
        return by_name[record.like].right if record.like in by_name else record.right

    text = _TIMM.format(
        count=len(records),
        there=len(names),
        rest=_rest(records, len(names)),
        found=sum(record.state == "found" for record in records),
        alike=sum(record.state == "alike" for record in records),
        right=sum(map(right, records)),
    )
    for place, group in groupby(sorted(names, key=family), key=family):
        members = list(group)
        seen = [by_name[name] for name in members if name in by_name]
        causes = [f"`{record.name}`: {_cause(record)}" for record in seen if not record.like and not record.right]
        text += f"| {place} | {len(members)} | {len(seen)} | {sum(map(right, seen))} | {'; '.join(causes)} |\n"
    return text


def _of_transformers(records: Sequence[Record], names: Sequence[str]) -> str:
    ran = [record for record in records if record.state == "found"]
    right = sum(record.right for record in ran)
    text = _TRANSFORMERS.format(
        count=len(records),
        there=len(names),
        rest=_rest(records, len(names)),
        types=len({record.family for record in ran}),
        right=right,
        ran=len(ran),
        share=right / max(len(ran), 1),
    )
    for family, group in groupby(sorted(records, key=lambda record: record.family), key=lambda record: record.family):
        members = sorted(group, key=lambda record: record.name)
        kinds = {record.name.partition("/")[0]: record for record in members}
        ran_as = [kind.removeprefix("AutoModel").removeprefix("For") or "base" for kind, r in kinds.items() if r.layers]
        causes = dict.fromkeys(_cause(record) for record in members if not record.right)
        layers = max((record.layers for record in members), default=0)
        text += f"| {family} | {', '.join(ran_as)} | {layers or ''} | {'; '.join(causes)} |\n"
    return text


def _cause(record: Record) -> str:
    faults = ", ".join(record.faults[:3])
    if record.faults and record.zoo == "transformers" and record.family in CAUSES:
        faults = f"{CAUSES[record.family]} ({faults})"
    return (record.error or faults).replace("|", "/").replace("\n", " ")


def _rest(records: Sequence[Record], there: int) -> str:
    """What was not looked at, and what was before the finding was changed last."""
    rest = "" if len(records) >= there else f"; the other {there - len(records):,} not yet"
    older = sum(record.finding != finding() for record in records)
    return f"{rest}; {older:,} of them before the finding of blocks was last changed" if older else rest
