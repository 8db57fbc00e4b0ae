"""Encoded bytes in, waveforms out: readers of sound files, conversion of rates, what is no clip."""
