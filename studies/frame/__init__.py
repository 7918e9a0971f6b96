"""The frame that every study stands in: claims, settings, seeds, and the report."""

from layerwise.studies.frame.catalogue import find_study, list_studies
from layerwise.studies.frame.claim import Claim, claim, measurement
from layerwise.studies.frame.running import Seed, over_seeds, side_by_side

__all__ = ["Claim", "Seed", "claim", "find_study", "list_studies", "measurement", "over_seeds", "side_by_side"]
