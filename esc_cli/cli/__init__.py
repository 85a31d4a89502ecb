"""The command line, with one module per command.

A command parses its arguments, calls the library and prints the result.
"""
