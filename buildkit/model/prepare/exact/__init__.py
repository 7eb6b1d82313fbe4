"""Runs an ONNX graph so that every machine gets the same bits.

Values are float64. Two rules make the result independent of CPU, threads, BLAS and batch size:

- An operation on single elements uses only ``+ - * / sqrt rint`` and comparisons, which IEEE 754
  defines to the last bit. ``exp`` and its kin are polynomials of these (`arith`).
- A sum (convolution, matrix product, mean) is over integers held in float64, short enough that
  no partial sum in any order can leave the 53 bits of a double (`arith.split_bits`): every
  addition is exact, so order, vector width and fused multiply-add cannot matter.

`graph.Graph` is the interpreter; `registry.op` adds an operator.
"""
