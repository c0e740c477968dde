"""Linear algebra on one thread of BLAS, whatever the process has set.

OpenBLAS' own threads make many small QRs and SVDs no faster, and 10 to 1,000 times slower where other processes want
the cores. `one_blas_thread` holds them at one around such work, also in a process of a user who has set nothing.
"""

import sys
import threading

from threadpoolctl import ThreadpoolController


class _OneBlasThread:
    """Holds BLAS at one thread while any thread of this process is within; the last one out restores what was set."""

    def __init__(self):
        self._lock = threading.Lock()
        self._within = 0
        self._blas = None
        self._modules = 0
        self._limit = None

    def __enter__(self):
        with self._lock:
            if self._within == 0:
                self._find_libraries()
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

    def _find_libraries(self):
        """A search through all loaded libraries takes 1 to 20 ms; another library can only have come with a module."""
        if self._modules != len(sys.modules):
            self._blas = ThreadpoolController().select(user_api="blas")
            self._modules = len(sys.modules)

    def _take_control(self):
        """threadpoolctl lets only the thread that first set OpenBLAS set it again; here a lock keeps threads apart."""
        for library in self._blas.lib_controllers:
            if library.internal_api == "openblas":
                library.clear_controlling_thread(force=True)


#: `with one_blas_thread:` around linear algebra on many small matrices; it may be entered again, and by many threads.
one_blas_thread = _OneBlasThread()
