"""pytest hooks and options; nothing else knows pytest.

Other repositories use it: ``-p prep.plugin``, or ``pytest_plugins = ["prep.plugin"]`` in their
conftest.py, and ``def test_mine(converted)``. Importing it costs nothing; registering it registers
`prep.plugin.hooks`. PYTEST_DONT_REWRITE: `prep.plugin.entry` imports it in every run.
"""

pytest_plugins = ["prep.plugin.hooks"]
