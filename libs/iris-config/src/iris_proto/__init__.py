"""Generated from the files under `proto/`; see `tools/generate_protos.py`."""
