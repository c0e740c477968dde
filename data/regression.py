"""Regression problems for linear networks: the diagonal one of section 3.4, and given arrays, whitened or not."""

import math
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from rankscope.blas import one_blas_thread
from rankscope.data.batches import StepBatches, sample_indices
from rankscope.data.dataset import Dataset
from rankscope.files import read_array_header

MAX_NUMBERS = 2**26  # of one array of a file: 0.5 GB in float64; MNIST's 60,000 images are 47 million numbers


@dataclass(frozen=True, eq=False)
class Regression(Dataset):
    """Inputs X and targets Y, one sample a row, in a training and a validation part.

    The loss of such data is a sum over samples (`zoo.HalfSquaredError`, eq. 11), so that a batch of B of all N samples
    has B/N of the full loss on average, and a decay that acts like L2 weighs N/B times as heavily against it.
    A batch size of N or more gives the full batch at every step, as in section 3.4. Validation is always one batch:
    `val_loss` is the sum over the whole validation part, whatever the batch size.

    Args:
        origin: str, one line for people: what it is, how it was split.
        train_inputs: float array `(N, inputs)`.
        train_targets: float array `(N, outputs)`.
        validation_inputs: float array `(M, inputs)`.
        validation_targets: float array `(M, outputs)`.

    Example:

    >>> data = diagonal_regression([0.5, 1.0])
    >>> data.train_batch(step=0, batch_size=2, seed=0)[1]
    array([[0.5, 0. ],
           [0. , 1. ]], dtype=float32)
    """

    origin: str
    train_inputs: np.ndarray = field(repr=False)
    train_targets: np.ndarray = field(repr=False)
    validation_inputs: np.ndarray = field(repr=False)
    validation_targets: np.ndarray = field(repr=False)
    kind = "regression"

    @property
    def input_dim(self) -> int:
        """Number of inputs, the paper's d_1."""
        return self.train_inputs.shape[1]

    @property
    def output_dim(self) -> int:
        """Number of outputs, the paper's d_3."""
        return self.train_targets.shape[1]

    def train_batch(self, step: int, batch_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The training batch of a step, a pure function of `(step, seed)`; the full batch is always in one order.

        Returns:
            float arrays `(min(batch_size, N), inputs)` and `(min(batch_size, N), outputs)`.
        """
        if batch_size >= len(self.train_inputs):
            return self.train_inputs, self.train_targets
        rows = sample_indices(step, batch_size, len(self.train_inputs), seed)
        return self.train_inputs[rows], self.train_targets[rows]

    def validation_batches(self, batch_size: int) -> StepBatches:
        """The whole validation part once, in one batch: Keras averages over batches, and the loss is a sum."""
        return StepBatches(lambda index: (self.validation_inputs, self.validation_targets), 0, 1)

    def learned(self, metrics: dict[str, float]) -> bool:
        """Whether `val_loss` is below ½‖Y‖², the loss of a network that has shrunk to zero, by more than rounding."""
        of_zeros = 0.5 * np.square(self.validation_targets, dtype=np.float64).sum()
        return bool(metrics["val_loss"] < of_zeros * (1 - 1e-5))


def diagonal_regression(singular_values: Iterable[float]) -> Regression:
    """Inputs X = I and targets Y = diag(s): Σ_XX = I and Σ_YX = S of eqs. 12 and 13, without loss of generality.

    There is nothing to hold out: the validation part is the training part.

    Args:
        singular_values: the diagonal of S, each ≥ 0.

    Example:

    >>> diagonal_regression([0.5, 1.0]).origin
    'diagonal: whitened inputs, target singular values 0.5, 1'
    """
    singular_values = np.asarray(list(singular_values), dtype=np.float64)
    inputs = np.eye(len(singular_values), dtype=keras.config.floatx())
    targets = np.diag(singular_values).astype(keras.config.floatx())
    origin = f"diagonal: whitened inputs, target singular values {_listed(singular_values)}"
    return Regression(origin, inputs, targets, inputs, targets)


def load_regression(
    path: str, whiten: bool = False, validation_fraction: float = 0.2, split_seed: int = 0
) -> Regression:
    """Read arrays `x` (samples, inputs) and `y` (samples, outputs) from an .npz file and split them by seed.

    Args:
        path: str, a file as `np.savez(path, x=x, y=y)` writes it; relative to the working directory.
        whiten: bool, whether to multiply the inputs by (XᵀX)^(−½) of the training part, so that there Σ_XX = XᵀX = I as
            in section 3.4: a sum over samples without 1/N and without subtracting means, since the network has no bias.
            Of all whitenings it is the one that moves the inputs least. With 1/N in both covariances, the other
            convention, the singular values of Σ_YX would be smaller by √N.
        validation_fraction: float in [0, 1), part of the samples that is held out; 0: validation is the training part.
        split_seed: int ≥ 0; runs of different seeds share a split unless this differs.

    Returns:
        `Regression` in `keras.config.floatx()`.

    Raises:
        ValueError: in one line, for a file that is not to be had or is no such archive, arrays of other types, shapes
            or numbers than those above, a fraction that leaves a part empty, inputs that cannot be whitened.

    Example:

    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/xy.npz"
    >>> np.savez(path, x=np.arange(20.0).reshape(10, 2), y=np.ones((10, 3)))
    >>> data = load_regression(path, whiten=True)
    >>> x, _ = data.train_batch(step=0, batch_size=10, seed=0)
    >>> x.shape, data.output_dim, bool(np.allclose(x.T @ x, np.eye(2), atol=1e-5))
    ((8, 2), 3, True)
    """
    inputs, targets = _read_npz(path)
    train = validation = np.arange(len(inputs))
    if validation_fraction:
        order = np.random.default_rng(split_seed).permutation(len(inputs))
        held_out = round(validation_fraction * len(inputs))
        validation, train = order[:held_out], order[held_out:]
        if not (len(validation) and len(train)):
            raise ValueError(
                f"data.validation_fraction leaves one part of the {len(inputs)} samples of {path} empty; with 0 the "
                f"validation part is the training part. Received: {validation_fraction}"
            )
    if whiten:
        inputs = inputs @ _whitening(inputs[train], path)
    split = f"split by seed {split_seed}" if validation_fraction else "one for both"
    origin = (
        f"npz {path}: {len(train)} training and {len(validation)} validation samples, {split}, "
        f"{inputs.shape[1]} {'whitened inputs' if whiten else 'inputs as given'}, {targets.shape[1]} outputs"
    )
    if inputs.shape[1] * targets.shape[1] <= 2**20:  # an SVD of half a second
        covariance = targets[train].T.astype(np.float64) @ inputs[train].astype(np.float64)
        with one_blas_thread:
            origin += f", Σ_YX with singular values {_listed(np.linalg.svd(covariance, compute_uv=False))}"
    parts = (inputs[train], targets[train], inputs[validation], targets[validation])
    return Regression(origin, *(part.astype(keras.config.floatx()) for part in parts))


def _whitening(inputs, path):
    """(XᵀX)^(−½) = V Σ⁻¹ Vᵀ of X = U Σ Vᵀ: float64 of shape `(inputs, inputs)`."""
    samples, columns = inputs.shape
    stored = np.finfo(inputs.dtype).eps if inputs.dtype.kind == "f" else 0.0
    with one_blas_thread:
        triangle = np.linalg.qr(inputs.astype(np.float64), mode="r")
        _, sigma, right = np.linalg.svd(triangle, full_matrices=False)
    # What rounding leaves of a zero: of the numbers in the file, or of the sums over samples.
    zero = sigma[0] * max(columns * stored, max(samples, columns) * np.finfo(np.float64).eps)
    rank = int(np.count_nonzero(sigma > zero))
    if rank < columns:
        raise ValueError(
            f"data.whiten needs inputs of full rank: leave out zero, repeated or otherwise dependent columns of x "
            f"in {path}, or take more samples. Received: rank {rank} of {columns} columns over {samples} training rows"
        )
    return right.T / sigma @ right


def _read_npz(path):
    """Arrays x and y of a file that anyone may have written: sizes are known and bounded before anything is read."""
    try:
        if not Path(path).is_file():
            raise ValueError(f"There is no file at data.path, which is relative to {Path.cwd()}. Received: {path}")
        with zipfile.ZipFile(path) as archive:
            inputs, targets = (_read_array(archive, path, name) for name in ("x", "y"))
    except OSError as error:
        raise ValueError(f"data.path cannot be read: {error.strerror or error}. Received: {path}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last where it is encrypted
        raise ValueError(
            f"{path} is not a whole .npz archive as np.savez(path, x=x, y=y) writes it. Received: {_short(error)}"
        ) from error
    if len(inputs) != len(targets):
        raise ValueError(
            f"{path}: x and y must have the same number of rows, one a sample. "
            f"Received: x {inputs.shape}, y {targets.shape}"
        )
    return inputs, targets


def _read_array(archive, path, name):
    where = f"{path}: array {name}"
    entry = archive.NameToInfo.get(f"{name}.npy")
    if entry is None:
        found = ", ".join(repr(other.removesuffix(".npy")) for other in archive.namelist()[:8])
        raise ValueError(
            f"{path} must hold arrays x (samples, inputs) and y (samples, outputs): {name} is missing. "
            f"Received: {found or 'an empty archive'}"
        )
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"another compression of {name}")
    with archive.open(entry) as file:
        try:
            shape, dtype, _, begin = header = read_array_header(file, newest=(1, 0))
        except ValueError as error:
            raise ValueError(f"{where} is not a NumPy array of format 1.0. Received: {_short(error)}") from error
        held = entry.file_size - begin
    if dtype.kind not in "buif":
        raise ValueError(f"{where} must hold real numbers. Received: {_short(dtype)}")
    if len(shape) != 2 or min(shape) < 1:
        columns = {"x": "inputs", "y": "outputs"}[name]
        raise ValueError(
            f"{where} must have the shape (samples, {columns}), each at least 1. Received: shape {_short(shape)}"
        )
    if math.prod(shape) > MAX_NUMBERS:
        raise ValueError(f"{where} must hold at most {MAX_NUMBERS:,} numbers. Received: shape {_short(shape)}")
    if held != header.size:
        raise ValueError(
            f"{where} is damaged: shape {shape} of {dtype} takes {header.size} bytes. Received: {held} bytes"
        )
    try:
        with archive.open(entry) as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:  # the archive's directory promises more than there is
        raise zipfile.BadZipFile(str(error)) from error
    largest = np.finfo(keras.config.floatx()).max
    wrong = ~(np.abs(values) <= largest)  # nan, too
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{where} must hold finite numbers of {keras.config.floatx()}, up to {largest:.3g} in size. "
            f"Received: {values[row, column]} at [{row}, {column}], {wrong.sum()} such of {values.size}"
        )
    return values


def _short(received):
    return f"{' '.join(str(received).split()):.120}"


def _listed(singular_values):
    """`2, 1, 0.5`, and how many more there are beyond eight."""
    shown = ", ".join(f"{value:.4g}" for value in singular_values[:8])
    more = len(singular_values) - 8
    return f"{shown}, … ({more} more)" if more > 0 else shown
