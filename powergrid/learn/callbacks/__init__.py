"""Callbacks of a training run: evaluation on fixed days, and loggers. One file each, behind :class:`Callback`."""

from powergrid.learn.callbacks.callback import Callback, Run
from powergrid.learn.callbacks.csv_file import CsvFile
from powergrid.learn.callbacks.evaluate import Evaluate
from powergrid.learn.callbacks.mlflow import MLflow
from powergrid.learn.callbacks.tensorboard import TensorBoard
from powergrid.learn.callbacks.wandb import WandB

__all__ = ["Callback", "Run", "Evaluate", "CsvFile", "TensorBoard", "WandB", "MLflow"]
