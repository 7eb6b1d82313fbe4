"""Smoke test of a model on the device that it is meant for; see ``docs/smoke-report.md``.

Runs inside the image under test, so it needs Python 3.11, numpy and ONNX Runtime only::

    python3 -m smoke --model model.onnx --golden golden.npz --profile smoke --out report.json

The rooms: `unknown`, `errors`, `stats`, `samples`, `profiles` are pure; `host`, `board`,
`accelerator`, `sensors`, `clock`, `process`, `stopping` know the machine; `engine`, `golden`,
`timing`, `answers`, `placement` run the model, in processes of their own (`worker`, started by
`children`); `report` puts the parts together; `cli` is the command.
"""

VERSION = "1.0.0"
SCHEMA = "edge-smoke/report/v1"
