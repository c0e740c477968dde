"""Where pages and pictures go."""

import os


def check_outputs(outputs):
    """Refuse, before anything is measured, an output that could not be written, or would fall on something else."""
    from rankscope.errors import UserError
    from rankscope.pictures.figure_5 import SUFFIXES

    for option, path in outputs.items():
        suffixes = {"--html": (".html", ".htm"), "--plot": SUFFIXES}[option]
        if path.suffix.lower() not in suffixes:
            raise UserError(f"{option} must name a {' or '.join(suffixes)} file. Received: {path}")
        try:
            fits = path.parent.is_dir() and (path.is_file() or not path.exists())
        except OSError:
            fits = False
        if not fits or not os.access(path.parent, os.W_OK | os.X_OK):
            raise UserError(f"{option} must name a file in a folder that can be written to. Received: {path}")
