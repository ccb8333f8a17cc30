"""Names the plugin; all logic lies in `prep.plugin`."""

pytest_plugins = ["prep.plugin"]
