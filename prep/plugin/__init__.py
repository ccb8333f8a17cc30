"""pytest hooks and options; nothing else knows pytest.

Registering this package as a plugin registers `prep.plugin.hooks`; importing it costs nothing.
"""

pytest_plugins = ["prep.plugin.hooks"]
