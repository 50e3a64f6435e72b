"""The public names are typed as ``api.py`` says; unused ignores there are errors, so each wrong call is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_mypy_infers_what_the_public_api_promises():
    root = HERE.parents[1]
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--follow-imports=silent", str(HERE / "api.py")]
    checked = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert checked.stdout + checked.stderr == ""
