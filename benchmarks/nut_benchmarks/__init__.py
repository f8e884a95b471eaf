"""Measures anomalib, ONNX Runtime and OpenVINO side by side, and holds the `nut` command that joins the stages."""
