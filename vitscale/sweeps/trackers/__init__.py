"""Telling trackers of experiments (TensorBoard, MLflow, W&B) what a sweep does, while it does it.

One file a tracker; `tracking` stands between them and the driver, which never waits for any.
"""
