"""The report on performance: gdfast and its rivals on the same work, in turns, and the limit of the machine.

In bench/: ``python -m rivals --help``. A rival is a file here with a record of `rival.Rival`, and a line in
`RIVALS` of __main__.py; a line of the report is one in works.py.
"""
