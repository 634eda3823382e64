"""Measurements, as ratios within one run; they print and never judge, but for `agentdojo`, which has bars."""
