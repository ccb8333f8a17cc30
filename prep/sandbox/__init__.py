"""Loads by consumers in processes without network, with mounts and user as asked."""
