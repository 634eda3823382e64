"""Exchanging keys while everything runs: the root key, and the companies' keys with all that is sealed under them.

Both go the same way: a fresh key seals from now on and the one before still opens; then everything is sealed anew;
then, when nobody is left who uses the one before, it is forgotten. Where a rotation stands is told by the keys
themselves, so that one that was killed goes on when it is started again.
"""
