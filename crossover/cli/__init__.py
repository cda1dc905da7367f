"""The command line: a group in `main`, options that commands share in `options`, and a file for each command.

A command's file is imported when that command runs or its help is asked for, so that `crossover --help` and
`crossover down` do not wait for numpy. Wrong usage is one line and exit code 2 everywhere.
"""
