"""Batch normalisation with a fused kernel in training."""

import keras


@keras.saving.register_keras_serializable(package="ser_keras")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation over the last axis, by TensorFlow's fused kernel in training.

    Keras composes it of a dozen operations, each of which reads and writes the whole tensor; the kernel,
    which exists for CPU and GPU, reads it twice. Otherwise it is `keras.layers.BatchNormalization`, its
    weights and its inference included. The moments of a training batch include its padding; inference
    uses stored moments, so that no clip depends on another. Replicas of a `tf.distribute` strategy
    normalise by the moments of their own batch, and store those of all.

    Example:
        >>> import numpy as np
        >>> images = np.random.default_rng(0).normal(3.0, 2.0, (8, 4, 4, 1)).astype("float32")
        >>> normalised = FusedBatchNormalization()(images, training=True).numpy()
        >>> bool(abs(normalised.mean()) < 1e-4), bool(abs(normalised.std() - 1) < 1e-2)
        (True, True)
    """

    def call(self, inputs, training=None):
        """Return `inputs` `(batch, steps, bands, filters)` normalised by filter."""
        if not (training and self.trainable and keras.config.backend() == "tensorflow"):
            return super().call(inputs, training=training)
        import tensorflow as tf

        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma, tf.float32),
            offset=tf.convert_to_tensor(self.beta, tf.float32),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        mean, variance = _over_replicas(mean, variance)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return normalised


def _over_replicas(mean, variance):
    """Return mean and variance over the batches of all replicas, which have equal sizes."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return mean, variance
    mean, square = context.all_reduce(tf.distribute.ReduceOp.MEAN, [mean, variance + mean**2])
    return mean, square - mean**2
