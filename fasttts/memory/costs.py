"""Seconds of one iteration of a model: a roofline and the host's part, or a calibration."""

from fasttts.memory.calibration import Calibration
from fasttts.memory.curves import Curve
from fasttts.memory.devices import Device
from fasttts.memory.shapes import ModelShape

SCORE_RATE_SHARE = 0.8
"""Share of the peak rate above which a larger verification batch gains little."""

_PREFILL_SHARE = 0.58
"""Share of a GPU's peak compute rate that prompts and steps to score reach."""

_DECODE_S = 1.7e-3
_DECODE_SEQUENCE_S = 1.0e-5
_PREFILL_SEQUENCE_S = 6.0e-4
"""Seconds of the host, vLLM's scheduler above all, for an iteration, for each sequence that it
decodes and for each that it begins. These and the share are fitted to searches of 8 to 512 beams on
an H200 with vLLM 0.24 and models of 1.5B and 7B; other hosts are faster or slower."""


_ALL_REDUCE_S = 1.0e-5
"""Seconds that a sum over GPUs takes beside its bytes (assumed, not measured)."""


class Costs:
    """Time of decoding and prefilling on a device.

    An iteration takes the longer of reading its bytes and computing its operations (Williams,
    Waterman and Patterson, "Roofline", CACM 52(4), 2009), and on a GPU what the host adds. Where a
    calibration is given, its curves replace both, and the roofline only adds the time of a context
    that is longer than the measured one.

    With several GPUs each has its part of every layer, and two sums over them in each layer add
    their time; their bytes are taken to move at the rate of the host's link, as they do where the
    GPUs have no faster one between them.

    Args:
        device: The device that the model runs on, or one of several of its kind.
        shape: The whole model.
        calibration: Measured times of this model on this device; None uses the roofline alone.
        num_gpus: Devices that the model is spread over.

    Attributes:
        shape: The part of the model that one device has.
        num_gpus: How many there are.
    """

    def __init__(
        self,
        device: Device,
        shape: ModelShape,
        calibration: Calibration | None = None,
        num_gpus: int = 1,
    ) -> None:
        self._device = device
        self.shape = shape.shard(num_gpus)
        self.num_gpus = num_gpus
        decode, prefill = (calibration.decode, calibration.prefill) if calibration else ((), ())
        self._decode = Curve.fit(decode) if decode else None
        self._prefill = Curve.fit(prefill) if prefill else None
        self._measured_context = calibration.context_tokens if calibration else 0

    @property
    def is_measured(self) -> bool:
        """Whether a calibration supplies any of the times."""
        return self._decode is not None or self._prefill is not None

    def decode_s(self, batch: float, context_tokens: float) -> float:
        """Seconds of one token for each sequence of a batch.

        Args:
            batch: Sequences.
            context_tokens: Context of each of them.
        """
        roofline_s = self._decode_roofline_s(batch, context_tokens)
        if self._decode is None:
            return roofline_s + self._host_s(_DECODE_S + batch * _DECODE_SEQUENCE_S)
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
            return roofline_s + self._host_s(num_sequences * _PREFILL_SEQUENCE_S)
        longer_s = roofline_s - self._prefill_roofline_s(num_sequences, tokens, 0)
        return self._prefill.at(num_sequences * tokens) + max(0.0, longer_s)

    def _decode_roofline_s(self, batch: float, context_tokens: float) -> float:
        shape = self.shape
        num_bytes = shape.read_bytes + batch * context_tokens * shape.kv_bytes_per_token
        flops = shape.layer_flops_per_token(context_tokens) + shape.head_flops_per_token
        return self._roofline_s(num_bytes, batch * flops, 1.0) + self._exchange_s(batch)

    def _prefill_roofline_s(
        self, num_sequences: int, tokens: float, context_tokens: float
    ) -> float:
        shape = self.shape
        kv_tokens = num_sequences * (context_tokens + tokens)
        flops = tokens * shape.layer_flops_per_token(context_tokens + tokens / 2)
        computed_s = self._roofline_s(
            shape.read_bytes + kv_tokens * shape.kv_bytes_per_token,
            num_sequences * (flops + shape.head_flops_per_token),
            1.0 if self._device.is_cpu else _PREFILL_SHARE,
        )
        return computed_s + self._exchange_s(num_sequences * tokens)

    def _exchange_s(self, num_tokens: float) -> float:
        """Seconds of the sums over several devices, two in each layer."""
        if self.num_gpus == 1:
            return 0.0
        moved = 2 * (self.num_gpus - 1) / self.num_gpus * num_tokens * self.shape.hidden_size
        rate = self._device.link_bytes_per_s or self._device.bandwidth_bytes_per_s
        return 2 * self.shape.num_layers * (_ALL_REDUCE_S + moved * self.shape.item_bytes / rate)

    def _roofline_s(self, num_bytes: float, flops: float, share: float) -> float:
        device = self._device
        rate = share * device.compute_flops
        return max(num_bytes / device.bandwidth_bytes_per_s, flops / rate)

    def _host_s(self, seconds: float) -> float:
        """The host's part, which the measured rates of a CPU contain."""
        return 0.0 if self._device.is_cpu else seconds
