"""Cut batches into shares, one or more for each replica."""

from collections.abc import Callable

import tensorflow as tf

Cut = Callable[[tf.data.Dataset, int, range], tf.data.Dataset]
"""From batches, the number of replicas and the numbers of some of them to the shares of those, in turn."""


def equal_shares(batches: tf.data.Dataset, num_replicas: int, replicas: range) -> tf.data.Dataset:
    """Return equal shares of each batch, of the replicas in `replicas`; the remainder of a batch is dropped."""

    def shares(*batch):
        size = _length(batch) // num_replicas * num_replicas
        return tf.data.Dataset.range(replicas.start, replicas.stop).map(
            lambda replica: tf.nest.map_structure(lambda each: each[replica:size:num_replicas], batch)
        )

    return batches.filter(lambda *batch: _length(batch) >= num_replicas).flat_map(shares)


def even_shares(
    num_clips: int, num_shares: int, batches: tf.data.Dataset, num_replicas: int, replicas: range
) -> tf.data.Dataset:
    """Return shares that hold each clip of a dataset once; share p belongs to replica p modulo their number.

    Args:
        num_clips: number of clips in all batches.
        num_shares: number of shares, a multiple of `num_replicas`; their sizes differ by at most one clip.
        batches: the dataset.
        num_replicas: number of all replicas.
        replicas: numbers of those whose shares are returned.
    """

    def share_of(clip):
        return clip * num_shares // num_clips

    def first_clip_of(share):
        return (share * num_clips + num_shares - 1) // num_shares

    def is_own(clip, _):
        replica = share_of(clip) % num_replicas
        return tf.logical_and(replica >= replicas.start, replica < replicas.stop)

    clips = batches.unbatch().enumerate().filter(is_own)
    return clips.group_by_window(
        key_func=lambda clip, _: share_of(clip),
        reduce_func=lambda _, share: share.map(lambda _, content: content).padded_batch(num_clips),
        window_size_func=lambda share: first_clip_of(share + 1) - first_clip_of(share),
    )


def _length(batch: tuple) -> tf.Tensor:
    return tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]
