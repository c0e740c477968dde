"""Steps a second in the units that people compare: tokens, images, and the part of the device's peak that they use."""

import keras

from rankscope.data.images import ImageData
from rankscope.data.text import TextData
from rankscope.training.device import device_kind, peak_flops
from rankscope.training.settings import GptSettings, Settings


def speed_of(steps_per_second: float, settings: Settings, model: keras.Model, data) -> dict[str, float]:
    """What a speed means for this run.

    Args:
        steps_per_second: updates a second.
        settings: of the run.
        model: of the run.
        data: of the run.

    Returns:
        `steps_per_second`; for text `tokens_per_second`, for images `images_per_second`; of a GPT in bfloat16 on a
        device whose peak is known, `model_flops_utilization` in [0, 1]: a recomputation of activations does not count
        as work.
    """
    speed = {"steps_per_second": steps_per_second}
    if isinstance(data, TextData):
        speed["tokens_per_second"] = steps_per_second * settings.training.batch_size * data.sequence_length
    if isinstance(data, ImageData):
        speed["images_per_second"] = steps_per_second * settings.training.batch_size
    peak = peak_flops(device_kind()) if settings.training.mixed_precision else None
    if peak is not None and isinstance(settings.model, GptSettings):
        flops = flops_per_token(model.count_params(), settings.model, data.sequence_length)
        speed["model_flops_utilization"] = speed["tokens_per_second"] * flops / peak
    return speed


def flops_per_token(parameters: int, model: GptSettings, sequence_length: int) -> float:
    """Operations that training takes a token: 6N + 12·L·H·K·T (PaLM, arXiv 2204.02311, appendix B).

    The table of tokens counts once, for its logits; rows of positions are looked up and cost nothing.

    Example:

    >>> f"{flops_per_token(125_030_400, GptSettings(name='gpt'), 1024):.3g}"
    '8.59e+08'
    """
    positions = sequence_length * model.hidden_dim if model.position_encoding != "none" else 0
    attention = 12 * model.num_layers * model.num_heads * model.key_dim * sequence_length
    return 6.0 * (parameters - positions) + attention
