"""The networks that the server runs: real ones exported to ONNX, and tiny stand-ins of the same contract."""
