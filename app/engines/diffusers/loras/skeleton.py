"""A model part without weights: peft assigns the tensors of a LoRA to its layers there.

On the live part, diffusers would remove the offloading hooks and apply them again, which page-locks a copy of all its
weights anew for each LoRA.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate import init_empty_weights


def working_dtype(weight: torch.Tensor, part: Any) -> torch.dtype:
    """The compute dtype of a layer: that of `part` when the weight is stored in a narrower one."""
    return weight.dtype if weight.dtype.itemsize > 1 else part.dtype


def skeleton_of(part: Any) -> Any:
    """A module like `part`, of the same class and shapes, in the dtypes that it computes in. Its weights are zeros that
    share one number each: peft places adapters where the weights are, which must not be the device `meta`."""
    with init_empty_weights():
        made = type(part).from_config(part.config)
    dtypes = {name: working_dtype(weight, part) for name, weight in part.named_parameters()}
    for path, module in made.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            zero = torch.zeros((), dtype=dtypes.get(f"{path}.{name}" if path else name, part.dtype))
            module._parameters[name] = torch.nn.Parameter(zero.expand(parameter.shape), requires_grad=False)
    return made
