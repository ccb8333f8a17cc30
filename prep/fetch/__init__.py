"""The only package that talks to a hub; all of it happens in a child process."""
