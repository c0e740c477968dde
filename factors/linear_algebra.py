"""Factors as float64 arrays, and LAPACK on one thread.

**Range.** Balance takes squares of squares of the entries. So the largest entry of a factor, in magnitude, must lie
between SMALLEST = 1e-70 and LARGEST = 1e70, or the factor must be zero: there every number is exact to rounding.
All of float32 and bfloat16 is within. Other factors are refused by whatever squares them, and as a FactorPair: their
fourth powers are 0 or infinity. Singular values and ranks alone have no such limit.

**Threads.** OpenBLAS' own threads make many small QRs and SVDs no faster, and 10 to 1,000 times slower where other
processes want the cores. `one_blas_thread` holds them at one, whatever the process has set.
"""

import threading

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

SMALLEST, LARGEST = 1e-70, 1e70


def as_factor(factor: npt.ArrayLike) -> np.ndarray:
    """A factor in float64.

    Args:
        factor: (..., rows, key_dim), real.

    Returns:
        The same values; not copied where they are float64 already.

    Raises:
        ValueError: for a factor that is neither zero nor within the range above.

    Example:
        >>> as_factor([[1, 2]]).dtype
        dtype('float64')
        >>> as_factor([[1e-80]])
        Traceback (most recent call last):
        ...
        ValueError: the largest entry of a factor must lie between 1e-70 and 1e+70 in magnitude. Received: 1e-80
    """
    factor = np.asarray(factor, dtype=np.float64)
    check_range(factor)
    return factor


def check_range(factor: np.ndarray) -> None:
    """Refuse a factor outside the range; arguments and errors as of `as_factor`."""
    if factor.size == 0:
        return
    largest = max(float(factor.max()), -float(factor.min()))
    # Written so that NaN passes: it is FactorPair that looks for it.
    if largest > LARGEST or 0 < largest < SMALLEST:
        raise ValueError(
            f"the largest entry of a factor must lie between {SMALLEST:g} and {LARGEST:g} in magnitude. "
            f"Received: {largest:g}"
        )


class _OneBlasThread:
    """Holds BLAS at one thread while any thread of this process is within; the last one out restores what was set."""

    def __init__(self):
        self._lock = threading.Lock()
        self._within = 0
        self._blas = None
        self._limit = None

    def __enter__(self):
        with self._lock:
            if self._within == 0:
                if self._blas is None:  # a search through all loaded libraries, 1 to 20 ms: once is enough
                    self._blas = ThreadpoolController().select(user_api="blas")
                self._take_control()
                self._limit = self._blas.limit(limits=1)
            self._within += 1

    def __exit__(self, *failure):
        with self._lock:
            self._within -= 1
            if self._within == 0:
                self._take_control()
                self._limit.restore_original_limits()
                self._limit = None

    def _take_control(self):
        """threadpoolctl lets only the thread that first set OpenBLAS set it again; here a lock keeps threads apart."""
        for library in self._blas.lib_controllers:
            if library.internal_api == "openblas":
                library.clear_controlling_thread(force=True)


#: `with one_blas_thread:` around linear algebra on many small matrices; it may be entered again, and by many threads.
one_blas_thread = _OneBlasThread()


def triangle(factor: np.ndarray) -> np.ndarray:
    """R of the QR decomposition of each matrix: (..., rows, columns) → (..., min(rows, columns), columns)."""
    with one_blas_thread:
        return np.linalg.qr(factor, mode="r")


def singular_values_of(matrix: np.ndarray) -> np.ndarray:
    """Singular values of each matrix, descending: (..., rows, columns) → (..., min(rows, columns))."""
    with one_blas_thread:
        return np.linalg.svd(matrix, compute_uv=False)


def eigenvalues_of(matrix: np.ndarray) -> np.ndarray:
    """Eigenvalues of each symmetric matrix, ascending: (..., n, n) → (..., n)."""
    with one_blas_thread:
        return np.linalg.eigvalsh(matrix)
