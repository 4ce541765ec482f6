"""Seconds of one iteration of a model: a roofline, or a calibration."""

from fasttts.memory.calibration import Calibration
from fasttts.memory.curves import Curve
from fasttts.memory.devices import Device
from fasttts.memory.shapes import ModelShape

SCORE_RATE_SHARE = 0.8
"""Share of the peak rate above which a larger verification batch gains little."""


class Costs:
    """Time of decoding and prefilling on a device.

    An iteration takes the longer of reading its bytes and computing its operations (Williams,
    Waterman and Patterson, "Roofline", CACM 52(4), 2009). The device's peak rates are used without
    allowance for launching kernels or for the scheduler, so real iterations take longer. Where a
    calibration is given, its curves replace the roofline, which then only adds the time of a
    context that is longer than the measured one.

    Args:
        device: The device that the model runs on.
        shape: The model; also an attribute.
        calibration: Measured times of this model on this device; None uses the roofline alone.
    """

    def __init__(
        self, device: Device, shape: ModelShape, calibration: Calibration | None = None
    ) -> None:
        self._device = device
        self.shape = shape
        decode, prefill = (calibration.decode, calibration.prefill) if calibration else ((), ())
        self._decode = Curve.fit(decode) if decode else None
        self._prefill = Curve.fit(prefill) if prefill else None
        self._measured_context = calibration.context_tokens if calibration else 0

    @property
    def is_measured(self) -> bool:
        """Whether a calibration supplies any of the times."""
        return self._decode is not None or self._prefill is not None

    def decode_s(self, batch: int, context_tokens: float) -> float:
        """Seconds of one token for each sequence of a batch.

        Args:
            batch: Sequences.
            context_tokens: Context of each of them.
        """
        roofline_s = self._decode_roofline_s(batch, context_tokens)
        if self._decode is None:
            return roofline_s
        longer_s = roofline_s - self._decode_roofline_s(batch, self._measured_context)
        return self._decode.at(batch) + max(0.0, longer_s)

    def prefill_s(self, num_sequences: int, tokens: float, context_tokens: float) -> float:
        """Seconds to compute new tokens of several sequences.

        Args:
            num_sequences: Sequences.
            tokens: New tokens of each of them.
            context_tokens: Cached context of each of them.
        """
        roofline_s = self._prefill_roofline_s(num_sequences, tokens, context_tokens)
        if self._prefill is None:
            return roofline_s
        longer_s = roofline_s - self._prefill_roofline_s(num_sequences, tokens, 0)
        return self._prefill.at(num_sequences * tokens) + max(0.0, longer_s)

    def _decode_roofline_s(self, batch: int, context_tokens: float) -> float:
        shape = self.shape
        num_bytes = shape.read_bytes + batch * context_tokens * shape.kv_bytes_per_token
        flops = shape.layer_flops_per_token(context_tokens) + shape.head_flops_per_token
        return self._roofline_s(num_bytes, batch * flops)

    def _prefill_roofline_s(
        self, num_sequences: int, tokens: float, context_tokens: float
    ) -> float:
        shape = self.shape
        kv_tokens = num_sequences * (context_tokens + tokens)
        flops = tokens * shape.layer_flops_per_token(context_tokens + tokens / 2)
        return self._roofline_s(
            shape.read_bytes + kv_tokens * shape.kv_bytes_per_token,
            num_sequences * (flops + shape.head_flops_per_token),
        )

    def _roofline_s(self, num_bytes: float, flops: float) -> float:
        device = self._device
        return max(num_bytes / device.bandwidth_bytes_per_s, flops / device.compute_flops)
