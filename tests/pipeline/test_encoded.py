"""Clips that a frozen encoder encodes once, and the datasets of them."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import WITH_ENCODER

from ser_keras.model import ParallelModel
from ser_keras.pipeline.augmentation import Augmentation
from ser_keras.pipeline.encoded import EncodedClips
from ser_keras.pipeline.shuffling import epochs_numbered

LENGTHS = [9_000, 40_000, 3_000, 75_000, 16_000]
MULTIPLE = 2


@pytest.fixture(scope="module")
def encoder():
    return ParallelModel(3, config=WITH_ENCODER).parts.encoder


class Counted:
    """A cheap encoder that counts the clips it is given; its features are the mean level of 1,000 samples."""

    def __init__(self):
        self.num_clips = 0

    def __call__(self, inputs, training):
        waveform = inputs["waveform"]
        waveform = tf.pad(waveform, [[0, 0], [0, -tf.shape(waveform)[1] % 1_000]])
        steps = tf.reduce_mean(tf.reshape(waveform, [tf.shape(waveform)[0], -1, 1_000]), axis=-1, keepdims=True)
        mask = tf.sequence_mask(-(-inputs["num_samples"] // 1_000), tf.shape(steps)[1])
        functionals = tf.reduce_sum(waveform, axis=1, keepdims=True)
        tf.numpy_function(self._count, [tf.shape(waveform)[0]], [])
        return {"steps": steps, "mask": mask, "functionals": functionals, "reliability": tf.ones_like(functionals)}

    def _count(self, number):
        self.num_clips += int(number)


@pytest.fixture
def counted():
    return Counted()


@pytest.fixture
def store(counted):
    return EncodedClips(counted, multiple=MULTIPLE)


def batches(noise, lengths=LENGTHS, batch_size=2, weights=True):
    """Clips whose label is their number, and whose weight is ten times that."""
    waveform = np.zeros((len(lengths), max(lengths)), np.float32)
    for row, length in enumerate(lengths):
        waveform[row, :length] = noise(length, seed=row)
    columns = (np.eye(len(lengths), dtype=np.float32), 10 * np.arange(len(lengths), dtype=np.float32))
    inputs = {"waveform": waveform, "num_samples": np.array(lengths, np.int32)}
    return tf.data.Dataset.from_tensor_slices((inputs, *columns[: 1 + weights])).batch(batch_size)


def labels(dataset):
    return np.concatenate([one_hot.numpy().argmax(axis=1) for _, one_hot, *_ in dataset]).tolist()


def functionals(dataset):
    return np.concatenate([inputs["functionals"].numpy() for inputs, *_ in dataset])


def same(clip, other):
    return all(np.array_equal(clip.versions[0][name], other.versions[0][name]) for name in clip.versions[0])


def test_each_clip_is_encoded_once_however_often_it_is_read(store, counted, noise):
    """By its samples: in other batches too, and beside new clips."""
    first = store.read(batches(noise))
    assert counted.num_clips == len(LENGTHS)
    again = store.read(batches(noise, batch_size=5))
    assert counted.num_clips == len(LENGTHS) and all(map(same, first, again))
    store.read(batches(noise, [*LENGTHS, 5_000]))
    assert counted.num_clips == len(LENGTHS) + 1


def test_a_clip_that_is_twice_in_a_dataset_is_encoded_once(store, counted, noise):
    clips = store.read(batches(noise).repeat(2))
    assert len(clips) == 2 * len(LENGTHS) and counted.num_clips == len(LENGTHS)


def test_more_copies_need_no_new_encoding_of_the_clips(store, counted, noise):
    store.read(batches(noise), copies=1)
    assert counted.num_clips == 2 * len(LENGTHS)
    store.read(batches(noise))
    store.read(batches(noise), copies=2)
    assert counted.num_clips == 3 * len(LENGTHS)


def test_features_do_not_depend_on_batch_mates(encoder, noise):
    together = EncodedClips(encoder, multiple=MULTIPLE).read(batches(noise))
    store = EncodedClips(encoder, multiple=MULTIPLE)
    for row, clip in enumerate(batches(noise, batch_size=1)):
        (alone,), expected = store.read(tf.data.Dataset.from_tensors(clip))[0].versions, together[row].versions[0]
        np.testing.assert_array_equal(alone["mask"], expected["mask"])
        for name in ("steps", "functionals", "reliability"):
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(alone[name] / scale, expected[name] / scale, atol=2e-3, err_msg=name)


def test_no_step_of_padding_is_kept(encoder, noise):
    (clip, *_) = EncodedClips(encoder, multiple=MULTIPLE).read(batches(noise))
    features = clip.versions[0]
    assert len(features["steps"]) == len(features["mask"]) == -(-(1 + LENGTHS[0] // 160) // 16)
    assert features["mask"].all()


def test_in_order_gives_clips_labels_and_weights_as_they_were(store, noise):
    dataset = store.in_order(store.read(batches(noise)), batch_size=3)
    assert labels(dataset) == labels(dataset) == [0, 1, 2, 3, 4]
    assert np.concatenate([weights for *_, weights in dataset]).tolist() == [0, 10, 20, 30, 40]
    expected = [noise(length, seed=row).sum() for row, length in enumerate(LENGTHS)]
    np.testing.assert_allclose(functionals(dataset)[:, 0], expected, atol=1e-2)


def test_a_dataset_without_weights_has_none(store, noise):
    dataset = store.in_order(store.read(batches(noise, weights=False)), batch_size=3)
    assert {len(batch) for batch in dataset} == {2}


def test_batches_are_padded_to_a_multiple_of_the_steps(store, noise):
    for inputs, *_ in store.in_order(store.read(batches(noise)), batch_size=1):
        size = inputs["steps"].shape[1]
        assert size % MULTIPLE == 0 and inputs["mask"].shape == (1, size)
        assert not np.any(inputs["steps"][~inputs["mask"]])
    assert size == LENGTHS[-1] // 1_000


def test_shuffled_gives_each_clip_once_an_epoch_in_another_order(store, noise):
    dataset = store.shuffled(store.read(batches(noise)), batch_size=2, seed=0, crop=100)
    with epochs_numbered() as epochs:
        orders = []
        for epochs.epoch in (0, 1, 2, 0):
            orders.append(labels(dataset))
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len({tuple(order) for order in orders[:3]}) > 1 and orders[3] == orders[0]


def test_an_epoch_draws_one_version_of_each_clip(store, noise):
    clips = store.read(batches(noise), copies=2)
    dataset = store.shuffled(clips, batch_size=2, seed=0, crop=100)
    drawn = set()
    for inputs, one_hot, *_ in dataset.repeat(30):
        for label, value in zip(one_hot.numpy().argmax(axis=1), inputs["functionals"].numpy(), strict=True):
            drawn |= {
                (label, version) for version in range(3) if value == clips[label].versions[version]["functionals"]
            }
    assert drawn == {(label, version) for label in range(5) for version in range(3)}


def test_each_version_is_a_dataset_in_order(store, noise):
    clips = store.read(batches(noise), copies=2)
    datasets = list(store.each_version(clips, batch_size=2))
    assert len(datasets) == 3
    for version, dataset in enumerate(datasets):
        assert labels(dataset) == [0, 1, 2, 3, 4]
        expected = [clip.versions[version]["functionals"] for clip in clips]
        np.testing.assert_array_equal(functionals(dataset), expected)


def test_copies_are_known_by_their_samples_and_their_number(counted, noise):
    """Whatever else is read, and in whatever order."""
    alone = EncodedClips(counted, multiple=MULTIPLE).read(batches(noise, LENGTHS[:1]), copies=2)
    among_others = EncodedClips(counted, multiple=MULTIPLE).read(batches(noise), copies=3)
    (values, again) = ([float(each["functionals"][0]) for each in clips[0].versions] for clips in (alone, among_others))
    assert again[:3] == pytest.approx(values, abs=1e-4)
    assert np.abs(np.subtract.outer(again, again)[~np.eye(4, dtype=bool)]).min() > 0.01


def test_copies_are_augmented_as_asked_for(counted, noise):
    plain = Augmentation(speed=0.0, filter_db=0.0, snr_db=None)
    (clip, *_) = EncodedClips(counted, multiple=MULTIPLE, augmentation=plain).read(batches(noise), copies=1)
    np.testing.assert_array_equal(clip.versions[1]["steps"], clip.versions[0]["steps"])


def test_a_silent_clip_and_one_that_is_shorter_than_a_frame_can_be_encoded(encoder):
    waveform = np.zeros((2, 8_000), np.float32)
    waveform[1, :100] = 0.1
    inputs = {"waveform": waveform, "num_samples": np.array([8_000, 100], np.int32)}
    data = tf.data.Dataset.from_tensors((inputs, np.eye(2, dtype=np.float32)))
    store = EncodedClips(encoder, multiple=MULTIPLE)
    for inputs, _ in store.in_order(store.read(data, copies=1), batch_size=2):
        assert all(np.isfinite(inputs[name]).all() for name in ("steps", "functionals", "reliability"))


def test_long_clips_are_cropped_in_training_and_their_functionals_are_not(store, noise):
    clips = store.read(batches(noise))
    longest = max(len(clip.versions[0]["mask"]) for clip in clips)
    assert longest > 2
    functionals = {clip.versions[0]["functionals"].tobytes() for clip in clips}
    for inputs, *_ in store.shuffled(clips, batch_size=2, seed=0, crop=2):
        assert inputs["mask"].numpy().sum(axis=1).max() <= 2
        assert all(row.tobytes() in functionals for row in inputs["functionals"].numpy())
