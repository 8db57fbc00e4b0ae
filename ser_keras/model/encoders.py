"""Pretrained encoders of speech: the first blocks of OpenAI's Whisper, in Keras layers, and their weights."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from ser_keras.errors import InputError, require
from ser_keras.layers.masking import as_windows
from ser_keras.layers.transformer import TransformerBlock, sinusoidal_positions
from ser_keras.presets import WHISPER_AUDIO

_HEAD_SIZE = 64
_MOST_FRAMES = 3_000
"""Frames of the longest window, 30 s: Whisper has no positions beyond."""

_PREFIX = "model.encoder."
"""Of the tensors' names."""

_RANGE = 8.0
"""Frames are raised to this far below the loudest value of the window, in powers of ten."""


@keras.saving.register_keras_serializable(package="ser_keras")
class WhisperEncoder(keras.layers.Layer):
    """The first blocks of Whisper's encoder over the log-mel spectrogram of `WHISPER_AUDIO`.

    Two convolutions, of which the second halves the number of frames, fixed positions and Transformer blocks; see
    Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022, section 2.2. Unlike there a clip
    is not padded to 30 s: all steps are masked, so that neither padding nor the other clips of a batch
    change a value. A recording that is longer than `window` is encoded in windows, in one batch: the features depend
    on their position, and a model that was trained on short clips knows no later ones.

    Args:
        size: features of each step; a multiple of 64, the size of a head.
        blocks: blocks whose outputs are returned side by side, counted from 1; later ones are left out.
        window: frames, of 10 ms, that are encoded together; even, at most 3,000.

    Raises:
        InputError: `size` is not such a multiple, `blocks` is empty or has a number below 1, or `window` is odd or
            outside 2 to 3,000.

    Example:
        >>> encoder = WhisperEncoder(size=64, blocks=(1, 2))
        >>> encoder(np.zeros((1, 101, 80), "float32"), np.ones((1, 101), bool)).shape
        TensorShape([1, 51, 128])
    """

    def __init__(self, size: int = 384, *, blocks: Sequence[int] = (1, 2, 3), window: int = _MOST_FRAMES, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.blocks = tuple(blocks)
        self.window = window
        require(size > 0 and size % _HEAD_SIZE == 0, "size", size, f"a multiple of {_HEAD_SIZE}")
        require(min(self.blocks, default=0) > 0, "blocks", self.blocks, "at least one number, counted from 1")
        require(window % 2 == 0 and 0 < window <= _MOST_FRAMES, "window", window, f"even, 2 to {_MOST_FRAMES}")

    def build(self, log_mel_shape, mask_shape=None):
        """Create the weights."""
        options = {"dtype": self.dtype_policy}
        self.conv_1 = keras.layers.Conv1D(self.size, 3, padding="valid", **options, name="conv_1")
        self.conv_2 = keras.layers.Conv1D(self.size, 3, strides=2, padding="valid", **options, name="conv_2")
        self.conv_1.build(log_mel_shape)
        self.conv_2.build((*log_mel_shape[:2], self.size))
        self.transformer = [
            TransformerBlock(self.size // _HEAD_SIZE, **options, name=f"block_{index}")
            for index in range(1, max(self.blocks) + 1)
        ]
        for block in self.transformer:
            block.build((*log_mel_shape[:2], self.size))
        for layer in (self.conv_1, self.conv_2, *self.transformer):
            layer.trainable = self.trainable  # Keras passes it on to those that are there when it is set

    def call(self, log_mel, mask):
        """Return the outputs of `blocks`.

        Args:
            log_mel: `(batch, frames, 80)`, in dB.
            mask: bool `(batch, frames)`, the frames of each clip.

        Returns:
            `(batch, steps, size * len(blocks))`; step ``t`` is centred on frame ``2 * t``, so that there are
            ``ceil(frames / 2)``. Steps behind the clip have no meaning.
        """
        batch, frames, _ = ops.shape(log_mel)
        length = min(frames, self.window) if isinstance(frames, int) else ops.minimum(frames, self.window)
        inside = as_windows(ops.cast(mask, "float32"), length)  # TensorFlow Lite cannot pad booleans
        steps = self._encode(as_windows(log_mel, length), inside > 0)
        joined = ops.reshape(steps, (batch, -1, self.size * len(self.blocks)))
        return joined[:, : (frames + 1) // 2]

    def _encode(self, log_mel, mask):
        frames = ops.expand_dims(mask, -1)
        scaled = ops.cast(_scaled(log_mel, frames), self.compute_dtype)
        steps = _gelu(self.conv_1(_padded(scaled))) * ops.cast(frames, self.compute_dtype)
        steps = _gelu(self.conv_2(_padded(steps)))  # (windows, steps, size)
        positions = sinusoidal_positions(ops.shape(steps)[1], self.size, most_steps=_MOST_FRAMES // 2)
        steps = steps + ops.cast(positions, self.compute_dtype)
        outputs = []
        for block in self.transformer:
            steps = block(steps, mask[:, ::2])
            outputs.append(steps)
        return ops.concatenate([outputs[index - 1] for index in self.blocks], axis=-1)

    def compute_output_shape(self, log_mel_shape, mask_shape=None):
        """Return `(batch, steps, size * len(blocks))`; the steps are None where the frames are."""
        frames = log_mel_shape[1]
        steps = None if frames is None else (frames + 1) // 2
        return (log_mel_shape[0], steps, self.size * len(self.blocks))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "size": self.size, "blocks": self.blocks, "window": self.window}


def load_whisper(path: str | Path, *, blocks: Sequence[int] = (1, 2, 3), **options: Any) -> WhisperEncoder:
    """Return an encoder with the weights of a file.

    Args:
        path: safetensors file with the names of Hugging Face's Whisper, such as ``model.encoder.conv1.weight``.
            Other tensors in it, those of later blocks and of the decoder, are not read.
        blocks: as in `WhisperEncoder`.
        **options: of the layer, such as ``name``.

    Raises:
        InputError: the file cannot be read, is not a safetensors file, or lacks a tensor; a tensor has another
            shape than Whisper's; or `blocks` is not as in `WhisperEncoder`.

    Example:
        ```python
        encoder = load_whisper("whisper-tiny.en.safetensors", blocks=(1, 2))
        ```
    """
    with _WhisperFile.open(path) as file:
        encoder = WhisperEncoder(file.size, blocks=blocks, **options)
        encoder.build((None, None, WHISPER_AUDIO.num_mel_bins))
        _fill(encoder, file)
    return encoder


def fill_whisper(encoder: WhisperEncoder, path: str | Path, *, digest: str = "") -> None:
    """Set the weights of an encoder to those of a file.

    Args:
        encoder: built, of the same size.
        path: as in `load_whisper`.
        digest: SHA-256 of the tensors, as float16 in the order in which they are read; empty: any are taken. The
            same weights have it in whatever file and precision they are published.

    Raises:
        InputError: as in `load_whisper`, or the digest or the size differs.
    """
    with _WhisperFile.open(path) as file:
        require(file.size == encoder.size, f"{path}: size", file.size, f"{encoder.size}, that of the preset")
        _fill(encoder, file)
        if digest and file.digest != digest:
            raise InputError(
                f"{path}: its tensors have the SHA-256 {file.digest}; expected {digest}: the file is damaged or has "
                "other weights"
            )


class _WhisperFile:
    """Tensors of a safetensors file by their names in the encoder; their digest so far."""

    def __init__(self, file: Any, path: str | Path):
        self._file, self._path, self._names = file, path, set(file.keys())
        self._hash = hashlib.sha256()

    @classmethod
    @contextmanager
    def open(cls, path: str | Path) -> Iterator[Self]:
        """Yield an open file.

        Raises:
            InputError: it cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                yield cls(file, path)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: {error}; expected a safetensors file of Whisper's weights") from None

    @property
    def size(self) -> int:
        """Features of a step."""
        return len(self._tensor("conv1.bias"))

    @property
    def digest(self) -> str:
        """SHA-256 of the tensors that were read."""
        return self._hash.hexdigest()

    def read(self, name: str, *shape: int) -> np.ndarray:
        """Return float32 values of an expected shape."""
        values = self._tensor(name)
        if values.shape != shape:
            raise InputError(f"{self._path}: {_PREFIX}{name} has the shape {values.shape}; expected {shape}")
        self._hash.update(np.ascontiguousarray(values, "<f2"))
        return values.astype(np.float32)

    def _tensor(self, name: str) -> np.ndarray:
        if _PREFIX + name not in self._names:
            raise InputError(
                f"{self._path}: no tensor {_PREFIX}{name}; expected the encoder of Whisper under Hugging Face's names"
            )
        return self._file.get_tensor(_PREFIX + name)


def _fill(encoder: WhisperEncoder, file: _WhisperFile) -> None:
    size = encoder.size
    for conv, name, inputs in ((encoder.conv_1, "conv1", WHISPER_AUDIO.num_mel_bins), (encoder.conv_2, "conv2", size)):
        kernel = file.read(f"{name}.weight", size, inputs, 3).transpose(2, 1, 0)
        conv.set_weights([kernel, file.read(f"{name}.bias", size)])
    for index, block in enumerate(encoder.transformer):
        _fill_block(block, file.read, f"layers.{index}", size)


def _fill_block(block: TransformerBlock, tensor: Callable[..., np.ndarray], name: str, size: int) -> None:
    def dense(layer, inputs, outputs):
        return tensor(f"{name}.{layer}.weight", outputs, inputs).T, tensor(f"{name}.{layer}.bias", outputs)

    kernels = [tensor(f"{name}.self_attn.{each}_proj.weight", size, size).T for each in "qkv"]
    query, value = (tensor(f"{name}.self_attn.{each}_proj.bias", size) for each in "qv")
    block.qkv.set_weights([np.concatenate(kernels, axis=1), np.concatenate([query, np.zeros(size), value])])
    block.attention_output.set_weights(dense("self_attn.out_proj", size, size))
    block.hidden.set_weights(dense("fc1", size, 4 * size))
    block.hidden_output.set_weights(dense("fc2", 4 * size, size))
    for norm, layer in ((block.attention_norm, "self_attn_layer_norm"), (block.hidden_norm, "final_layer_norm")):
        norm.set_weights([tensor(f"{name}.{layer}.{part}", size) for part in ("weight", "bias")])


def _scaled(log_mel, frames):
    """Return Whisper's features: powers of ten above a floor, roughly from -1 to 1, and 0 behind the clip."""
    powers = ops.cast(log_mel, "float32") / 10
    peak = ops.max(ops.where(frames, powers, -np.inf), axis=(1, 2), keepdims=True)
    return ops.where(frames, (ops.maximum(powers, peak - _RANGE) + 4) / 4, 0.0)


def _gelu(x):
    return ops.gelu(x, approximate=False)


def _padded(x):
    """Return `x` with a step of zeros at both ends: "same" would begin elsewhere for an odd number of steps."""
    return ops.pad(x, [[0, 0], [1, 1], [0, 0]])
