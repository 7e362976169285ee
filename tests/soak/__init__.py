"""Long campaigns against the record of jobs: `python -m tests.soak`, bounded in `tests/test_soak.py`."""
