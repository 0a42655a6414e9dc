"""The jobs by engine. Each module has PREPARE: how an engine's jobs are made ready, by job.

The modules of the peers run in their environment, and import nothing of Headwater.
"""
