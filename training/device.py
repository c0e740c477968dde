"""What the backend computes on, and how fast it can be."""

import keras

#: Operations a second of a dense matrix product in bfloat16, from NVIDIA's data sheets; the first that fits counts.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}


def device_name() -> str:
    """What the backend computes on, in its own words."""
    return str(getattr(keras.ops.zeros((1,)), "device", "unknown"))


def device_kind() -> str:
    """The product's name, such as `NVIDIA H100 80GB HBM3`; `cpu` of a CPU."""
    device = getattr(keras.ops.zeros((1,)), "device", "")
    backend = keras.backend.backend()
    if backend == "jax":
        return device.device_kind
    if backend == "torch" and device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    if backend == "tensorflow" and "GPU" in device:
        import tensorflow as tf

        gpu = tf.config.list_physical_devices("GPU")[0]
        return tf.config.experimental.get_device_details(gpu).get("device_name", "gpu")
    return "cpu"


def peak_flops(kind: str) -> float | None:
    """Operations a second in bfloat16 of a device of this kind; None where we do not know it.

    >>> peak_flops("NVIDIA H100 80GB HBM3"), peak_flops("cpu")
    (989000000000000.0, None)
    """
    return next((peak for name, peak in PEAK_FLOPS.items() if name in kind), None)
