"""Tests import the toy paper's helpers as ``toy.trials``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
