"""Loads one part of a model from tensors instead of by a library's own reading: from a single file in the names of
diffusers or of the original code, or from files whose weights have scales."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from accelerate import init_empty_weights
from diffusers.loaders import single_file
from diffusers.loaders.single_file_utils import LDM_UNET_KEY, SingleFileComponentError
from safetensors import safe_open
from safetensors.torch import load_file

from app.core.faults import is_beyond_the_job
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.errors import LOAD_ERRORS, first_line
from app.engines.diffusers.load.part_names import own_names, role_of
from app.engines.diffusers.load.scaled_weights import is_scaled, multiplied_out
from app.engines.diffusers.load.weights import tensor_shapes
from app.errors import ModelUnavailable

_ORIGINAL_PREFIXES = {"UNet2DConditionModel": LDM_UNET_KEY}  # without which diffusers finds none of its weights


def needs_reading(part: str, checkpoint: Checkpoint) -> bool:
    """Whether the weights of `part` cannot be read by its own class: a file of another layout, or with scales."""
    return part in checkpoint.separate or any(is_scaled(tensor_shapes(file)) for file in checkpoint.files[part])


def read_part(part: str, part_class: Any, checkpoint: Checkpoint, dtype: torch.dtype, quantization: Any = None) -> Any:
    """The part of `checkpoint` made of the tensors in its files. Raises ModelUnavailable when these do not fit."""
    folder, files = checkpoint.folder_of(part), checkpoint.files[part]
    state = {name: tensor for file in files for name, tensor in _read(file, part, dtype).items()}
    options = {} if quantization is None else {"quantization_config": quantization}
    problem = ""
    try:
        if issubclass(part_class, transformers.PreTrainedModel):
            config = part_class.config_class.from_pretrained(folder)
            return part_class.from_pretrained(None, config=config, state_dict=state, dtype=dtype, **options)
        named, problem = _named(state, part_class, folder, files[0])
        model = part_class.from_single_file(
            named, config=str(folder.parent), subfolder=folder.name, dtype=dtype, local_files_only=True, **options
        )
    except (*LOAD_ERRORS, IndexError, SingleFileComponentError) as error:
        if is_beyond_the_job(error):
            raise
        raise _misfit(files[0], part, folder, problem or first_line(error)) from error
    _require_loaded(model, part, folder, files[0])
    return model


@contextmanager
def multiplying_scales(file: Path, dtype: torch.dtype) -> Iterator[None]:
    """Within the block diffusers reads the weights of a complete `file` with scales as plain ones in `dtype`."""
    if not is_scaled(tensor_shapes(file)):
        yield
        return
    plain = single_file.load_single_file_checkpoint
    single_file.load_single_file_checkpoint = lambda *_, **__: multiplied_out(load_file(file), dtype, file)
    try:
        yield
    finally:
        single_file.load_single_file_checkpoint = plain


def _read(file: Path, part: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors of `part` without prefix. Only those that have scales are in `dtype` already."""
    with safe_open(file, "pt") as opened:
        names = own_names(list(opened.keys()), role_of(part))
        return multiplied_out({name: opened.get_tensor(full) for name, full in names.items()}, dtype, file)


def _named(
    state: dict[str, torch.Tensor], part_class: Any, folder: Path, file: Path
) -> tuple[dict[str, torch.Tensor], str]:
    """`state` as `from_single_file` expects it: exactly the part's names, or those of the original code; and what is
    wrong with it if they are neither."""
    if not hasattr(part_class, "from_single_file"):
        raise ModelUnavailable(
            f"diffusers {diffusers.__version__} cannot read a {part_class.__name__} from one file ({file}). Use a"
            " diffusers folder."
        )
    with init_empty_weights():
        expected = part_class.from_config(part_class.load_config(folder)).state_dict().keys()
    missing = sorted(expected - state.keys())
    if not missing:
        return {name: state[name] for name in expected}, ""
    prefix = _ORIGINAL_PREFIXES.get(part_class.__name__, "")
    few = 2 * len(missing) < len(expected)
    problem = f"it lacks {missing[0]} ({len(missing)} of {len(expected)} tensors)" if few else ""
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}, problem


def _require_loaded(model: Any, part: str, folder: Path, file: Path) -> None:
    left = [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if tensor.is_meta]
    if left:
        raise _misfit(file, part, folder, f"it lacks {left[0]} ({len(left)} tensors)")


def _misfit(file: Path, part: str, folder: Path, problem: str) -> ModelUnavailable:
    return ModelUnavailable(f"{file} does not fit the {part} that {folder} describes: {problem}.")
