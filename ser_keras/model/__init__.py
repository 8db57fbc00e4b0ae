"""The model, and its file."""

from ser_keras.model.parallel_model import ParallelModel
from ser_keras.model.saving import load_model, save_model

__all__ = ["ParallelModel", "load_model", "save_model"]
