"""The embedded hub: a local server that speaks the Hugging Face hub's protocol, and its models."""
