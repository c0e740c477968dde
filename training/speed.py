"""Steps a second in the units that people compare: tokens, images, and the part of the device's peak that they use."""

import keras

from rankscope.data.dataset import Dataset
from rankscope.training.device import device_kind, peak_flops
from rankscope.training.settings import Settings


def speed_of(steps_per_second: float, settings: Settings, model: keras.Model, data: Dataset) -> dict[str, float]:
    """What a speed means for this run.

    Args:
        steps_per_second: updates a second.
        settings: of the run.
        model: of the run.
        data: of the run.

    Returns:
        `steps_per_second`; of data with a unit, such as tokens, `tokens_per_second`. In bfloat16, of a model whose
        operations are counted, on a device whose peak is known, `model_flops_utilization` in [0, 1].
    """
    speed = {"steps_per_second": steps_per_second}
    units = steps_per_second * settings.training.batch_size * data.units_per_sample
    if data.unit is not None:
        speed[f"{data.unit}_per_second"] = units
    peak = peak_flops(device_kind()) if settings.training.mixed_precision else None
    flops = settings.model.flops_per_token(model.count_params(), data.units_per_sample)
    if peak is not None and flops is not None:
        speed["model_flops_utilization"] = units * flops / peak
    return speed
