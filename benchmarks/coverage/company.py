"""Run the check of company on forty architectures, in three precisions: it is to be silent, but where it is right.

    python -m benchmarks.coverage.company [NAMES]

Prints, for each architecture and type, the largest difference that other company and more padding make, in units of
the spread among samples and of what rounding may make, and whatever the check says.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings

import torch

from benchmarks.coverage.samples import network_and_batch
from layerwise.features.check import LARGEST, check_company
from layerwise.features.choose_readings import readings_of
from layerwise.features.company import Difference, compare_company
from layerwise.features.precision import roundings_of
from layerwise.network.graph.blocks import choose
from layerwise.runtime.tensors import map_tensors

__all__ = ["ARCHITECTURES"]

#: Twenty families of timm and twenty types of transformers.
ARCHITECTURES = {
    "timm": (
        *("resnet18", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050", "efficientnet_b0"),
        *("swin_tiny_patch4_window7_224", "regnetx_002", "densenet121", "mixer_s16_224", "deit_tiny_patch16_224"),
        *("ghostnet_050", "poolformer_s12", "edgenext_xx_small", "mobilevit_xxs", "levit_128s", "pit_ti_224"),
        *("cait_xxs24_224", "xcit_nano_12_p16_224", "beit_base_patch16_224", "tf_efficientnet_lite0"),
    ),
    "transformers": (
        *("AutoModel/bert", "AutoModel/roberta", "AutoModel/distilbert", "AutoModel/albert", "AutoModel/electra"),
        *("AutoModel/deberta-v2", "AutoModel/mpnet", "AutoModelForCausalLM/gpt2", "AutoModelForCausalLM/llama"),
        *("AutoModelForCausalLM/mixtral", "AutoModelForCausalLM/qwen2_moe", "AutoModelForCausalLM/mamba"),
        *("AutoModel/t5", "AutoModel/bart", "AutoModel/clip", "AutoModel/siglip", "AutoModel/wav2vec2"),
        *("AutoModel/hubert", "AutoModel/vit", "AutoModel/dinov2"),
    ),
}
#: Samples in a batch.
_BATCH = 6
_KINDS = (torch.float32, torch.bfloat16, torch.float16)


def examine(zoo: str, name: str, kind: torch.dtype) -> str:
    """What the check says of one architecture in one precision."""
    torch.manual_seed(0)
    network, batch = network_and_batch(zoo, name, _BATCH)
    network.model.to(kind)
    lowered = map_tensors(batch.inputs, lambda value: value.to(kind) if value.is_floating_point() else value)
    batch = network.batch((lowered, batch.labels))
    traced = network.trace(batch)
    layers = choose(traced.trace, "blocks", network.head)
    readings = readings_of(network, traced.trace, layers, batch, "auto", seed=0)
    roundings = {layer.name: own for layer, own in roundings_of(network.model, traced.trace, layers).items()}
    started = time.perf_counter()
    found = compare_company(network, readings, batch, roundings)
    seconds = time.perf_counter() - started
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            said = check_company(network, traced, readings, batch, shared=False)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
    told = "; ".join([said, *(str(one.message) for one in caught if "differ by" in str(one.message))])
    return f"mixed {_largest(found.mixed)}, padded {_largest(found.padded)}, {seconds:.1f} s: {told}"


def _largest(differences: dict[str, Difference]) -> str:
    if not differences:
        return "-"
    shares = max(one.share for one in differences.values())
    roundings = max(one.distance / one.rounding if one.distance else 0.0 for one in differences.values())
    return f"{shares:.1e} ({roundings:.1f} of rounding)"


def main() -> None:
    """Examine and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="these only")
    options = parser.parse_args()
    logging.getLogger("layerwise").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print(f"a difference of more than {LARGEST:.0%} of the spread is an error")
    for zoo, names in ARCHITECTURES.items():
        for name in names:
            for kind in _KINDS if not options.names or name in options.names else ():
                try:
                    said = examine(zoo, name, kind)
                except Exception as error:
                    said = f"not run: {type(error).__name__}: {' '.join(str(error).split())[:100]}"
                print(f"{name} {str(kind).removeprefix('torch.')}: {said}", flush=True)


if __name__ == "__main__":
    main()
