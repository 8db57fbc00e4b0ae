import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL

from ser_keras.config import AudioConfig, ModelConfig
from ser_keras.errors import InputError
from ser_keras.layers.batch_norm import FusedBatchNormalization
from ser_keras.layers.masking import StatisticsPooling, masked_moments
from ser_keras.model import ParallelModel, load_model, save_model

LENGTHS = [24_000, 160, 9_000, 16_001, 1]


@pytest.fixture(scope="module", params=[ModelConfig(), SMALL], ids=["default", "small"])
def model(request):
    """A model whose weights are all away from their initial zeros and ones."""
    model = ParallelModel(8, config=request.param)
    random = np.random.default_rng(0)
    for weight in model.weights:
        noise = random.normal(size=weight.shape) * 0.05
        weight.assign(weight + (abs(noise) if "variance" in weight.path else noise).astype(weight.dtype))
    model.adapt_normalization([batch()])
    model.finalize_normalization()
    return model


def batch(lengths=LENGTHS, padded=30_000):
    """Clips of different lengths and loudness, and garbage behind each."""
    random = np.random.default_rng(0)
    waveform = np.full((len(lengths), padded), 0.7, np.float32)
    for row, length in enumerate(lengths):
        waveform[row, :length] = random.normal(size=length) * 0.02 * (row + 1)
    return {"waveform": waveform, "num_samples": np.array(lengths, np.int32)}


def alone(inputs, row):
    length = inputs["num_samples"][row]
    return {"waveform": inputs["waveform"][row : row + 1, :length], "num_samples": inputs["num_samples"][row : row + 1]}


@pytest.mark.parametrize("row", range(len(LENGTHS)))
def test_padding_and_batch_mates_change_nothing(model, row):
    inputs = batch()
    together, single = model.details(inputs), model.details(alone(inputs, row))
    for name in ("probabilities", "embedding"):
        np.testing.assert_allclose(together[name][row], single[name][0], atol=1e-5, rtol=1e-4, err_msg=name)
    steps = single["attention"].shape[1]
    np.testing.assert_allclose(together["attention"][row, :steps], single["attention"][0], atol=1e-5)
    np.testing.assert_allclose(together["attention"][row, steps:], 0.0, atol=1e-7)


def test_clips_of_one_batch_get_different_probabilities(model):
    probabilities = model(batch()).numpy()
    assert np.abs(probabilities[0] - probabilities[2]).max() > 1e-4


def test_keras_file_round_trip_without_custom_objects(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again, ParallelModel)
    assert (again.emotions, again.audio, again.config) == (model.emotions, model.audio, model.config)
    np.testing.assert_array_equal(again(batch()), model(batch()))


def test_probabilities_sum_to_one(model):
    np.testing.assert_allclose(model(batch()).numpy().sum(axis=1), 1.0, atol=1e-6)


def test_attention_sums_to_one_over_the_clip(model):
    np.testing.assert_allclose(model.details(batch())["attention"].numpy().sum(axis=1), 1.0, atol=1e-5)


def test_default_has_eight_emotions_and_at_most_a_million_weights():
    model = ParallelModel()
    assert model.output_shape == (None, 8)
    assert model.count_params() <= 1_000_000


def test_it_is_a_functional_graph_of_both_branches():
    kinds = {type(layer) for layer in ParallelModel(config=SMALL).layers}
    assert {keras.layers.Conv2D, keras.layers.Bidirectional, keras.layers.AdditiveAttention} <= kinds


def test_names_of_emotions_survive_the_round_trip(small_model, tmp_path):
    small_model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").emotions == ("neutral", "sad", "angry")


def test_normalisation_gives_zero_mean_and_unit_variance_on_true_frames(small_model):
    inputs = batch()
    small_model.adapt_normalization([inputs])
    scaled = keras.Model(small_model.input, small_model.parts.normalization.output)(inputs).numpy()
    frames = np.concatenate([scaled[row, : 1 + length // 320] for row, length in enumerate(LENGTHS)])
    np.testing.assert_allclose(frames.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(frames.std(axis=0), 1.0, atol=1e-3)


def test_statistics_pooling_by_hand():
    inputs = np.array([[[1.0], [3.0], [99.0]]], np.float32)
    pooled = StatisticsPooling()(inputs, np.array([[True, True, False]]))
    np.testing.assert_allclose(pooled, [[2.0, 1.0]], atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_moments_of_long_recordings_are_right_in_every_precision(dtype):
    inputs = tf.cast(tf.tile([[[1.0], [5.0]]], [1, 15_000, 1]), dtype)
    mean, variance = masked_moments(inputs, np.arange(30_000)[None] < 29_000)
    assert mean.dtype == variance.dtype == dtype
    np.testing.assert_allclose(tf.cast([mean, variance], "float32"), [[[3.0]], [[4.0]]], rtol=1e-3)


def test_a_dtype_of_one_model_is_refused():
    with pytest.raises(InputError, match=r"dtype='mixed_float16': call keras\.mixed_precision\.set_global_policy"):
        ParallelModel(3, config=SMALL, dtype="mixed_float16")


def test_an_argument_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="no argument emotion"):
        ParallelModel(2, emotion=("sad", "angry"))


def test_there_are_no_more_cepstra_than_bands():
    model = ParallelModel(3, config=SMALL, audio=AudioConfig(num_mel_bins=16))
    assert model.get_layer("cepstra").num_cepstra == 16


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_is_that_of_keras(training):
    images = np.random.default_rng(0).normal(2.0, 3.0, (4, 10, 6, 5)).astype(np.float32)
    results = []
    for kind in (FusedBatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.9)
        layer.build(images.shape)
        layer.gamma.assign([1.0, 2.0, 3.0, 4.0, 5.0])
        with tf.GradientTape() as tape:
            normalised = layer(images, training=training)
            loss = tf.reduce_sum(normalised**3)
        results.append([normalised, *tape.gradient(loss, layer.trainable_weights), *layer.weights])
    for ours, theirs in zip(*results, strict=True):
        # the fused kernel estimates the moving variance without bias: 240 values a filter
        np.testing.assert_allclose(ours, theirs, rtol=5e-3, atol=1e-3)


def test_augmentation_changes_training_alone():
    augmented = ParallelModel(3, config=SMALL)
    plain = ParallelModel(3, config=SMALL.replace(filter_db=0.0, num_masks=0))
    plain.set_weights(augmented.get_weights())
    np.testing.assert_array_equal(augmented(batch()), plain(batch()))
    first, second = (np.asarray(augmented(batch(), training=True)) for _ in range(2))
    assert np.isfinite(first).all() and np.abs(first - second).max() > 1e-4


def test_without_a_fusion_weight_there_is_no_functionals_branch():
    model = ParallelModel(3, config=SMALL.replace(fusion_weight=0.0))
    assert model.parts.functionals is model.parts.fusion is None
    assert not {"functionals", "functionals_logits", "fusion"} & {layer.name for layer in model.layers}


@pytest.mark.parametrize("method", ["plain", "from_config", "copy", "load_model"])
def test_the_parts_are_those_of_the_model(small_model, tmp_path, method):
    """However it was made, its parts are its own tensors and layers."""
    save_model(small_model, tmp_path / "model.keras")
    made = {
        "plain": lambda: small_model,
        "from_config": lambda: ParallelModel.from_config(small_model.get_config()),
        "copy": small_model.copy,
        "load_model": lambda: load_model(tmp_path / "model.keras"),
    }[method]()
    parts, branch = made.parts, made.parts.functionals
    layers = [parts.normalization, parts.fusion, parts.temperature, branch.normalization, branch.head]
    assert all(layer is made.get_layer(layer.name) for layer in layers)
    inner = [parts.log_mel, parts.attention, parts.embedding, parts.logits, parts.fused_logits, branch.values]
    outputs = keras.Model(made.input, [*inner, made.output])(batch())
    np.testing.assert_allclose(keras.ops.softmax(outputs[4]), outputs[-1], atol=1e-6)
    assert (made is small_model) == (method == "plain")


def test_fit_evaluate_and_predict_ignore_other_entries_of_the_inputs(small_model):
    """Keras warns of dictionaries of another structure, and warnings are errors here."""
    names = np.array([f"{row}.wav" for row in range(len(LENGTHS))])
    data = tf.data.Dataset.from_tensors(({**batch(), "utterance": names}, np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]))
    small_model.compile(optimizer="sgd", loss="categorical_crossentropy", metrics=["accuracy"])
    small_model.fit(data, validation_data=data, shuffle=False, verbose=0)
    np.testing.assert_allclose(small_model.predict(data, verbose=0), small_model(batch()), atol=1e-6)
    assert small_model.evaluate(data, verbose=0, return_dict=True).keys() == {"loss", "accuracy"}
    np.testing.assert_array_equal(small_model({**batch(), "utterance": names}), small_model(batch()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_emotions": 1}, "num_emotions=1: .* at least 2 emotions"),
        (
            {"num_emotions": 3, "emotions": ("sad", "happy")},
            r"num_emotions=3, but there are 2 emotions \(sad, happy\): num_emotions=2 fits",
        ),
    ],
)
def test_classes_that_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        ParallelModel(**arguments)


def test_too_few_bands_for_the_pools():
    with pytest.raises(InputError, match=r"num_mel_bins=8: .* 16 times; take more bands or smaller pools"):
        ParallelModel(audio=AudioConfig(num_mel_bins=8))


def test_plot_shows_both_branches(small_model):
    drawing = keras.utils.model_to_dot(small_model).to_string()
    assert "conv_summary" in drawing and "attention" in drawing
