"""Pictures, and anything else that is numbers with a class."""

from __future__ import annotations

import torch
from torch import Tensor

from layerwise.data import loaders, read
from layerwise.studies.data.places import locate

__all__ = ["Splits", "load_pictures"]

#: Inputs and targets of every split.
Splits = dict[str, tuple[Tensor, Tensor]]


def load_pictures(name: str) -> Splits:
    """All splits of a data set, with inputs of mean 0 and variance 1 over the training split, channel by channel.

    Parameters
    ----------
    name : str
        A short name, ``"digits"``, ``"fashion-mnist"`` or ``"cifar10"``, or a data name of `layerwise.data.read`; with
        options such as ``?limit=2000``.

    Returns
    -------
    dict of str to (Tensor, Tensor)
        Inputs ``(n, d)`` or ``(n, c, h, w)``, float32; labels ``(n,)``, int64.

    Examples
    --------
    >>> splits = load_pictures("digits?limit=100")
    >>> splits["train"][0].shape
    torch.Size([100, 64])
    """
    whole: Splits = {}
    for split, loader in loaders(read(locate(name)), batch_size=1000).items():
        inputs, labels = zip(*loader, strict=True)
        whole[split] = (torch.cat(inputs), torch.cat(labels))
    train = whole["train"][0]
    axes = [axis for axis in range(train.ndim) if train.ndim < 4 or axis != 1]
    mean, spread = train.mean(axes, keepdim=True), train.std(axes, keepdim=True)
    return {split: ((inputs - mean) / spread, labels) for split, (inputs, labels) in whole.items()}
