"""What runs where models are loaded: in our import server, or in an interpreter of somebody else's.

It needs Python 3.9, the consumer's own libraries, and nothing of ours: ``--consumer-python`` packs
it into one file (`pack` in ``prep.sandbox.import_server``) and runs that. It imports the libraries
once and forks a child for each load: the imports take seconds, a load tenths of one. It measures;
the tests judge.
"""
