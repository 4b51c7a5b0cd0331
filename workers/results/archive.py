"""The fitted model as one file: it is attached to its study, and MLflow's model registry gets it from there."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from castpool.workers.data.hierarchy import HIERARCHY_FILE
from castpool.workers.results.output_files import BEST_FILE, FORECAST_FILE
from castpool.workers.results.result import MODEL_FOLDER
from castpool.workers.results.weights import WEIGHTS_FILE

MODEL_FILE = "model.zip"


def pack_model(folder: Path) -> bytes:
    """Return the fitted model in a result's folder, its record and its forecast, as a ZIP file.

    Equal files give equal bytes: the archive holds no times.
    """
    content = io.BytesIO()
    paths = [
        *(folder / MODEL_FOLDER).rglob("*"),
        *(folder / name for name in (BEST_FILE, FORECAST_FILE, WEIGHTS_FILE, HIERARCHY_FILE)),
    ]
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in paths if path.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return content.getvalue()
