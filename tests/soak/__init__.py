"""Long campaigns: `python -m tests.soak`, bounded in `tests/test_soak.py` and `tests/test_campaigns.py`."""
