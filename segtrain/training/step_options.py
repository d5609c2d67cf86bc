"""What a training does beside a plain step of its optimizer. Everything is off unless asked for."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StepOptions:
    """The root keys of the same names.

    Attributes:
        ema_decay: Decay of averaged weights (`weight_ema.WeightEma`); there are none where 0.
        gradient_accumulation_steps: Equal parts that a batch is computed in, one after another; a step is one update
        all the same.
        clip_norm: The gradients of a step are scaled down to this global norm; never where None.
        factors: By path of a weight, the factor of its updates where that is not 1; see `lr_multipliers.factors`.
        freeze_backbone_epochs: Epochs at first in which nothing of the backbone moves.
        backbone: Names of the backbone's layers.
        jit: Whether XLA compiles a step.
    """

    ema_decay: float = 0.0
    gradient_accumulation_steps: int = 1
    clip_norm: float | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    freeze_backbone_epochs: int = 0
    backbone: Collection[str] = ()
    jit: bool = False
