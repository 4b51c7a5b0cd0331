"""Test errors at equal wall time: castpool as typed, beside its parts, simple methods, its peers and AutoGluon."""
