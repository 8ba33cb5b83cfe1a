"""Runtimes of networks: onnxruntime, torch, their threads and weights."""
