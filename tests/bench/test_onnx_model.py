"""The peer's model is the same forest."""

import numpy as np
import pytest

from bench import score
from bench.onnx_model import onnx_model

pytest.importorskip("onnxruntime")


def test_margins_are_nearly_the_same() -> None:
    """ONNX Runtime adds the same leaves."""
    import onnxruntime

    case = score.score_case(8)
    session = onnxruntime.InferenceSession(onnx_model(case.booster))
    margins = session.run(None, {"rows": case.rows[:500]})[0][:, 0]
    expected = case.booster.inplace_predict(case.rows[:500], predict_type="margin")
    np.testing.assert_allclose(margins, expected, atol=1e-5)
