"""The headers of WAV files, read in core TensorFlow operations: where the samples are, or what is wrong.

Sizes in a header are not trusted: memory is bounded by the bytes that are there.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ser_keras.audio_io.clip_faults import EMPTY
from ser_keras.audio_io.graph_branches import kept_apart

LOWEST_SAMPLE_RATE = 4_000
"""In Hz. Below it only the pitch of a voice remains."""

HIGHEST_SAMPLE_RATE = 384_000
"""In Hz, the highest that recorders offer."""

CUT_OFF = "cut off: "
"""Beginning of the error of a file that is shorter than its header claims."""

_MOST_FRAMES = 2**30  # keeps every index within int32
_MOST_CHUNKS = 1_000  # real files have a dozen; a hostile one must not keep the loop busy
_MOST_TAGS = 8
_SIZE_UNKNOWN = 2**32 - 1
_STREAMED = 2**31 - 2**16  # as a size or beyond: programs that stream write 2 GB, 2 GB less a page or all ones
_STREAMED_64 = 2**62
_FMT, _DATA, _WAVE, _RIFF, _RF64, _BW64 = (
    int.from_bytes(name, "little") for name in (b"fmt ", b"data", b"WAVE", b"RIFF", b"RF64", b"BW64")
)
_PLAIN_HEADER = 44  # bytes before the samples, where there are no other chunks
_PCM, _IEEE_FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FMT_BYTES, _EXTENSIBLE_BYTES = 16, 40  # of the 'fmt ' chunk at least
_USUAL = (_RIFF, 0, _WAVE, _FMT, 16, _PCM, 0, 0, 0, _DATA, 0)  # the plain header, four bytes at a time, in
_USUAL_BITS = (-1, 0, -1, -1, -1, 0xFFFF, 0, 0, -0x39 << 16, -1, 0)  # these bits; those of a sample in whole bytes
_OTHER_ENCODINGS = {2: "MS ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM 6.10", 85: "MP3"}
_OTHER_ENCODINGS[_EXTENSIBLE] = "extensible, but its 'fmt ' chunk is too short to say of what encoding"
_SEND_WAV = "', expected 'RIFF....WAVE'; send WAV"
_GET_WHOLE = " s that the WAV header says; copy, download or export the file again"
_EXPECTED_ENCODINGS = " bits; expected PCM (1) of 8 to 32 bits or IEEE float (3) of 32 or 64 bits"
_EXPECTED_RATES = f" Hz is outside {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz"


class WavHeader(NamedTuple):
    """Position, encoding and number of a file's samples: scalars, or `(batch,)`.

    Attributes:
        data: where the samples begin, int64; 0 where there is an error.
        encoding: how they are encoded, int64; 0 to 3: integers in 1 to 4 bytes, 4 and 5: floats of 4 and 8 bytes.
        num_channels: int64; 1 where there is an error.
        num_frames: samples of each channel, int64; 0 where there is an error.
        sample_rate: in Hz, int32; 0 where there is an error.
        error: string; empty where all is well.
    """

    data: tf.Tensor
    encoding: tf.Tensor
    num_channels: tf.Tensor
    num_frames: tf.Tensor
    sample_rate: tf.Tensor
    error: tf.Tensor


def read_headers(contents: tf.Tensor, *, max_seconds: float = 600.0, lengths: tf.Tensor | None = None) -> WavHeader:
    """Reads the headers of WAV files, without their samples.

    Use it with `ser_keras.audio_io.wav.read_frames` where the lengths of many files have to be known before the
    first is read. All files are read in the same few operations: for a short clip they cost more than its samples.

    Args:
        contents: the files' bytes, string `(batch,)`; their first ones are enough where `lengths` are given.
        max_seconds: a longer recording is an error.
        lengths: of the whole files, int64 `(batch,)`, in bytes.

    Returns:
        Where the samples are, or an error text, each `(batch,)`. The number of frames is what the bytes
        hold, whatever the header claims.
    """
    lengths = tf.cast(tf.strings.length(contents), tf.int64) if lengths is None else lengths
    is_usual, usual = _read_usual(contents, lengths, max_seconds)
    return tf.cond(is_usual, lambda: usual, lambda: _read_any(contents, lengths, max_seconds))


def begin_as_riff(contents: tf.Tensor) -> tf.Tensor:
    """Returns whether files may be WAV, by their first bytes or those after ID3 tags.

    Args:
        contents: the files' bytes, string `(batch,)`.

    Returns:
        bool `(batch,)`.

    Example:
        >>> begin_as_riff(tf.constant([b"RIFF....WAVE", b"ID3...", b"fLaC"])).numpy().tolist()
        [True, False, False]
    """
    return _is_riff(_numbers(contents, _skip_tags(contents), tf.int32, 1)[:, 0])


def _read_usual(contents: tf.Tensor, length: tf.Tensor, max_seconds: float) -> tuple[tf.Tensor, WavHeader]:
    """Whether all files are whole and good, PCM, without other chunks; their headers, if they are.

    Most files are, and then no search for chunks and no error text is needed.
    """
    numbers = tf.io.decode_raw(contents, tf.int32, fixed_length=_PLAIN_HEADER)  # (batch, 11)
    is_plain = tf.equal(tf.bitwise.bitwise_and(numbers, _USUAL_BITS), _USUAL)
    fields = tf.unstack(tf.cast(numbers, tf.float64), len(_USUAL), axis=1)
    num_channels, rate, sample_bytes, size = fields[5] // 2**16, fields[6], fields[8] // 2**19, fields[10]
    frame_bytes = sample_bytes * num_channels
    num_frames = size // frame_bytes
    room = tf.cast(length, tf.float64) - _PLAIN_HEADER
    checks = [rate >= LOWEST_SAMPLE_RATE, rate <= HIGHEST_SAMPLE_RATE, size <= room, sample_bytes <= 4]
    checks += [tf.equal(fields[8] % 2**16, frame_bytes), num_frames >= 1]
    checks += [num_frames / rate <= max_seconds]  # infinite or NaN where it was divided by 0
    num_channels = tf.cast(num_channels, tf.int64)
    header = WavHeader(
        tf.zeros_like(num_channels) + _PLAIN_HEADER,
        tf.cast(sample_bytes, tf.int64) - 1,
        num_channels,
        tf.cast(num_frames, tf.int64),
        numbers[:, 6],
        tf.fill(tf.shape(contents), ""),
    )
    return tf.reduce_all(is_plain) & tf.reduce_all(checks), header


@kept_apart
def _read_any(contents: tf.Tensor, length: tf.Tensor, max_seconds: float) -> WavHeader:
    chunks = _read_chunks(contents, length)
    error = _first_fault(_faults(contents, chunks, max_seconds))
    good = tf.equal(error, "")
    return WavHeader(
        tf.where(good, chunks.data, 0),
        tf.maximum(chunks.encoding, 0),
        tf.where(good, chunks.num_channels, 1),
        tf.where(good, chunks.num_frames, 0),
        tf.where(good, tf.cast(chunks.sample_rate, tf.int32), 0),
        error,
    )


class _Chunks(NamedTuple):
    """The contents of the two chunks of each file, int64 `(batch,)`; offsets are 0 where a chunk is missing."""

    fmt: tf.Tensor
    data: tf.Tensor
    tag: tf.Tensor
    num_channels: tf.Tensor
    sample_rate: tf.Tensor
    bits: tf.Tensor
    encoding: tf.Tensor  # as in `WavHeader`, or -1
    num_frames: tf.Tensor
    seconds: tf.Tensor  # float64
    seconds_missing: tf.Tensor  # float64, of a file that was cut off
    is_wave: tf.Tensor


def _read_chunks(contents: tf.Tensor, length: tf.Tensor) -> _Chunks:
    is_wave, is_short, fmt, fmt_size, data, data_size = _find_chunks(contents, length)
    fields = tf.unstack(_numbers(contents, fmt, tf.uint16, 13), axis=1)
    tag, num_channels, bits = fields[0], fields[1], fields[7]
    sample_rate, bytes_per_second = fields[2] + fields[3] * 2**16, fields[4] + fields[5] * 2**16
    has_sub_format = tf.equal(tag, _EXTENSIBLE) & (fmt_size >= _EXTENSIBLE_BYTES)
    tag = tf.where(has_sub_format, fields[12], tag)  # the first field of the sub-format's GUID
    sample_bytes = (bits + 7) // 8
    # 17 to 24 bits fill three bytes or four, and only the block align shows which. It is wrong where the bytes
    # a second agree with three. Other block aligns are invalid; libsndfile and FFmpeg ignore them.
    is_padded = tf.equal(sample_bytes, 3) & tf.equal(fields[6], 4 * num_channels)
    is_padded &= tf.not_equal(bytes_per_second, 3 * num_channels * sample_rate)
    sample_bytes += tf.cast(is_padded, tf.int64)
    encoding = _encoding(tag, bits, sample_bytes)
    is_known = encoding >= 0
    # The header of other encodings has the bytes of a block and the bytes a second.
    block = tf.maximum(tf.where(is_known, num_channels * sample_bytes, fields[6]), 1)
    room = length - data
    num_blocks = tf.minimum(data_size, room) // block
    num_missing = tf.where(is_short, tf.maximum(data_size - room, 0) // block, 0)
    per_second, unit = tf.where(is_known, sample_rate, bytes_per_second), tf.where(is_known, tf.ones_like(block), block)
    per_second = tf.cast(tf.maximum(per_second, 1), tf.float64)
    seconds, missing = (tf.cast(count * unit, tf.float64) / per_second for count in (num_blocks, num_missing))
    return _Chunks(fmt, data, tag, num_channels, sample_rate, bits, encoding, num_blocks, seconds, missing, is_wave)


def _find_chunks(contents: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Whether each is a WAV file and shorter than it claims; start and size of its two chunks: `(batch,)`.

    The size of the samples is that of the header, or up to the end of a file whose size was never filled in.
    """
    nothing, start = tf.zeros_like(length), _skip_tags(contents)
    head = tf.unstack(_numbers(contents, start, tf.int32, 9), axis=1)
    is_wave, riff_size = _is_riff(head[0]) & tf.equal(head[2], _WAVE), head[1] & _SIZE_UNKNOWN
    is_64 = tf.not_equal(head[0], _RIFF)
    riff_size_64, data_size_64 = ((head[place] & _SIZE_UNKNOWN) + head[place + 1] * 2**32 for place in (5, 7))
    riff_size = tf.where(is_64 & tf.equal(riff_size, _SIZE_UNKNOWN), riff_size_64, riff_size)
    room = length - start - 8
    never_closed = tf.abs(riff_size - room) > 1

    def data_bytes(size, body):
        size &= _SIZE_UNKNOWN
        is_in_64 = is_64 & tf.equal(size, _SIZE_UNKNOWN)
        is_open = (size >= _STREAMED) | (tf.equal(size, 0) & never_closed)
        is_open_64 = (data_size_64 < 0) | (data_size_64 >= _STREAMED_64) | (tf.equal(data_size_64, 0) & never_closed)
        return tf.where(tf.where(is_in_64, is_open_64, is_open), length - body, tf.where(is_in_64, data_size_64, size))

    def is_unfinished(offset, fmt, fmt_size, data, data_size):
        return (tf.equal(fmt, 0) | tf.equal(data, 0)) & (offset + 8 <= length)

    def step(offset, fmt, fmt_size, data, data_size):
        unfinished = is_unfinished(offset, fmt, fmt_size, data, data_size)
        name, size = tf.unstack(_numbers(contents, offset, tf.int32, 2), axis=1)
        body = offset + 8
        is_data = unfinished & tf.equal(name, _DATA)
        said = tf.where(is_data, data_bytes(size, body), size & _SIZE_UNKNOWN)
        size = tf.clip_by_value(said, 0, length - body)
        is_fmt = unfinished & tf.equal(name, _FMT) & (size >= _FMT_BYTES)
        # Chunks begin at even offsets. Without the pad byte the next chunk's name is here, not a zero.
        is_padded = tf.equal(size % 2, 1) & tf.equal(_numbers(contents, body + size, tf.uint8, 1)[:, 0], 0)
        return (
            tf.where(unfinished, body + size + tf.cast(is_padded, tf.int64), offset),
            tf.where(is_fmt, body, fmt),
            tf.where(is_fmt, size, fmt_size),
            tf.where(is_data, body, data),
            tf.where(is_data, said, data_size),
        )

    _, *found = tf.while_loop(
        lambda *state: tf.reduce_any(is_unfinished(*state)),
        step,
        (tf.where(is_wave, start + 12, length), nothing, nothing, nothing, nothing),
        maximum_iterations=_MOST_CHUNKS,
    )
    return is_wave, (riff_size < 0) | (riff_size > room), *found


def _is_riff(name: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(tf.equal(name[:, tf.newaxis], [_RIFF, _RF64, _BW64]), axis=1)


def _skip_tags(contents: tf.Tensor) -> tf.Tensor:
    """Where each file begins after its ID3v2 tags (id3.org, "ID3 tag version 2.4.0", 3.1)."""

    def tag_size(start):
        tag = tf.unstack(_numbers(contents, start, tf.uint8, 10), axis=1)
        is_tag = tf.reduce_all([tf.equal(each, letter) for each, letter in zip(tag, b"ID3", strict=False)], axis=0)
        num_ends = 1 + tag[5] // 16 % 2  # a footer is as long as the header
        size = sum(tag[9 - place] % 128 * 128**place for place in range(4))
        return tf.where(is_tag, size + 10 * num_ends, 0)

    nothing = tf.zeros_like(tf.strings.length(contents), tf.int64)
    start, _ = tf.while_loop(
        lambda _, size: tf.reduce_any(size > 0),
        lambda start, size: (start + size, tag_size(start + size)),
        (nothing, tag_size(nothing)),
        maximum_iterations=_MOST_TAGS,
    )
    return tf.minimum(start, tf.cast(tf.strings.length(contents), tf.int64))


def _numbers(contents: tf.Tensor, offset: tf.Tensor, dtype: tf.DType, count: int) -> tf.Tensor:
    """Little-endian numbers from somewhere in each file, int64 `(batch, count)`; zeros after its end."""
    offset = tf.minimum(offset, tf.cast(tf.strings.length(contents), tf.int64))
    pieces = tf.strings.substr(contents, offset, tf.fill(tf.shape(offset), tf.constant(count * dtype.size, tf.int64)))
    numbers = tf.io.decode_raw(pieces, dtype, fixed_length=count * dtype.size)
    return tf.ensure_shape(tf.cast(numbers, tf.int64), [None, count])


def _encoding(tag: tf.Tensor, bits: tf.Tensor, sample_bytes: tf.Tensor) -> tf.Tensor:
    is_integer = tf.equal(tag, _PCM) & (bits >= 1) & (bits <= 32)
    is_float = tf.equal(tag, _IEEE_FLOAT) & (tf.equal(bits, 32) | tf.equal(bits, 64))
    return tf.where(is_integer, sample_bytes - 1, tf.where(is_float, 3 + bits // 32, -1))


def _faults(
    contents: tf.Tensor, chunks: _Chunks, max_seconds: float
) -> list[tuple[tf.Tensor, Callable[[], tf.Tensor]]]:
    """What can be wrong with a file, the most severe first: condition and text, both `(batch,)`."""
    text = tf.strings.as_string
    seconds, said = chunks.seconds, chunks.seconds + chunks.seconds_missing
    rate = tf.cast(tf.maximum(chunks.sample_rate, 1), tf.float64)
    allowed = tf.minimum(tf.constant(max_seconds, tf.float64), _MOST_FRAMES / rate)
    has_rate = (chunks.sample_rate >= LOWEST_SAMPLE_RATE) & (chunks.sample_rate <= HIGHEST_SAMPLE_RATE)
    return [
        (tf.equal(tf.strings.length(contents), 0), lambda: "empty: 0 bytes; send WAV"),
        (~chunks.is_wave, lambda: _join("not a WAV file: begins with '", _printable(contents), _SEND_WAV)),
        (tf.equal(chunks.fmt, 0), lambda: "no 'fmt ' chunk of 16 bytes or more in the WAV file: cut off or damaged"),
        (
            chunks.seconds_missing > 0,
            lambda: _join(CUT_OFF, text(seconds, precision=2), " s of ", text(said, precision=2), _GET_WHOLE),
        ),
        (chunks.encoding < 0, lambda: _join(_encoding_name(chunks), _EXPECTED_ENCODINGS)),
        (tf.equal(chunks.num_channels, 0), lambda: "0 channels in the WAV header, at least 1 expected"),
        (~has_rate, lambda: _join("sample rate ", text(chunks.sample_rate), _EXPECTED_RATES)),
        (tf.equal(chunks.data, 0), lambda: "no 'data' chunk in the WAV file: cut off or damaged"),
        (tf.equal(chunks.num_frames, 0), lambda: EMPTY),
        (
            seconds > allowed,
            lambda: _join("too long: ", text(seconds, precision=1), " s, at most ", text(allowed, precision=1), " s"),
        ),
    ]


def _first_fault(faults: list[tuple[tf.Tensor, Callable[[], tf.Tensor]]]) -> tf.Tensor:
    fine = tf.fill(tf.shape(faults[0][0]), "")

    def tell():
        error = fine
        for condition, text in reversed(faults):
            error = tf.where(condition, text(), error)
        return error

    # The texts are built only for an error: string operations are slow.
    return tf.cond(tf.reduce_any([condition for condition, _ in faults]), tell, lambda: fine)


def _join(*parts: tf.Tensor | str) -> tf.Tensor:
    return tf.strings.join(list(parts))


def _printable(contents: tf.Tensor) -> tf.Tensor:
    """The first four bytes as text that is valid UTF-8, with '?' for what cannot be printed."""
    characters = tf.strings.bytes_split(tf.strings.substr(contents, 0, 4)).to_tensor("")  # (batch, 4)
    is_printable = tf.strings.regex_full_match(characters, "[ -~]?")
    return tf.strings.reduce_join(tf.where(is_printable, characters, "?"), axis=1)


def _encoding_name(chunks: _Chunks) -> tf.Tensor:
    tags = tf.constant([-1, *_OTHER_ENCODINGS], tf.int64)
    names = tf.constant(["", *(f" ({name})" for name in _OTHER_ENCODINGS.values())])
    name = tf.gather(names, tf.argmax(tf.cast(tf.equal(tags, chunks.tag[:, tf.newaxis]), tf.int32), axis=1))
    text = tf.strings.as_string
    return _join("WAVE format tag ", text(chunks.tag), name, " with ", text(chunks.bits))
