"""The `tf.data` pipeline: recordings are decoded and checked once, then shuffled, cropped and padded."""
