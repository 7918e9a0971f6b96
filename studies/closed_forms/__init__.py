"""What studies of closed forms share: the models that have a phase transition."""

from layerwise.studies.closed_forms.phase_models import MODELS, PhaseModel

__all__ = ["MODELS", "PhaseModel"]
