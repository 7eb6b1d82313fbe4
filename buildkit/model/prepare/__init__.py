"""Prepares a model inside the build sandbox: ``python -m prepare STAGE …``.

The stages, each one process that reads files and writes files::

    train      a script        → model.onnx and any data
    import     any .onnx       → model.onnx, signature.json
    optimise   model.onnx      → prepared.onnx
    calibrate  prepared.onnx   → ranges.json
    quantise   prepared.onnx   → model.onnx, report.json
    check      float, int8     → accuracy.json, logits.json

This package stands alone: it imports only itself, numpy, onnx and onnxruntime, so the sandbox
needs nothing else of the library. Its output bytes depend on its input bytes and settings and
on nothing else: not on the kind of CPU, the threads, the hash seed, the locale or the clock
(but for ``logits.json``, which is there to show what a CPU changes).

Exit status: 0 done; 3 the input is bad; 1 anything else that failed; 2 wrong usage. For 1 and 3
the last line on standard error is one JSON object, ``{"error": …, "remedy": …}``.
"""
