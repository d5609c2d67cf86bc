"""Options of a training step in addition to its optimizer. The defaults turn everything off."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StepOptions:
    """The root keys of the same names.

    Attributes:
        ema_decay: Decay of averaged weights, 0-1, see `weight_ema.WeightEma`; 0 turns averaging off.
        gradient_accumulation_steps: Micro-batches that a batch is split into; a step is still one update.
        clip_norm: Maximum global norm of a step's gradients; None turns clipping off.
        factors: Path of a weight -> factor of its updates, where that is not 1; see `multipliers.factors`.
        freeze_backbone_epochs: Freeze the backbone for the first N epochs.
        backbone: Names of the backbone's layers.
        jit: Whether to compile the step with XLA.
    """

    ema_decay: float = 0.0
    gradient_accumulation_steps: int = 1
    clip_norm: float | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    freeze_backbone_epochs: int = 0
    backbone: Collection[str] = ()
    jit: bool = False
