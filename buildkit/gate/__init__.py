"""Turns what devices report into PASS, FAIL or INCONCLUSIVE; pure."""
