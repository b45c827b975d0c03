"""Tests of which commands are traced, where the kernel lets that be done."""

from __future__ import annotations

import pytest

from batten.crashlab.tracing.laboratory import find_tracing_obstacle, is_tracing_possible

needs_tracing = pytest.mark.skipif(not is_tracing_possible(), reason=str(find_tracing_obstacle()))
